//! `top-words`: the ten most frequent words of a text.
//!
//! A word is a sequence of letters and digits of any script, in lowercase: `It's 5 o'clock` has
//! five.

/// The most words to return.
const WORDS_MAX: usize = 10;

#[nebula_sdk::function]
mod top_words {
    use std::cmp::Reverse;
    use std::collections::BTreeMap;

    use super::WORDS_MAX;

    /// A word and its frequency.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Word {
        /// The word in lowercase.
        pub word: String,
        /// The number of occurrences.
        pub count: u32,
    }

    /// Returns the most frequent words of `text`, the most frequent first, equally frequent ones by
    /// code point.
    pub fn handle(text: String) -> Vec<Word> {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for run in text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty()) {
            *counts.entry(run.to_lowercase()).or_default() += 1;
        }
        let mut words: Vec<_> = counts.into_iter().map(|(word, count)| Word { word, count }).collect();
        // The map iterates in order of the words, and a stable sort keeps that order among equally
        // frequent ones.
        words.sort_by_key(|word| Reverse(word.count));
        words.truncate(WORDS_MAX);
        words
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn top(text: &str) -> Vec<(String, u32)> {
            handle(text.to_owned()).into_iter().map(|Word { word, count }| (word, count)).collect()
        }

        fn words(text: &str) -> Vec<String> {
            top(text).into_iter().map(|(word, _)| word).collect()
        }

        #[test]
        fn the_most_frequent_word_comes_first() {
            let expected = [("b", 3), ("a", 2), ("c", 1)].map(|(word, count)| (word.to_owned(), count));
            assert_eq!(top("a b, B! c (a) b"), expected);
        }

        #[test]
        fn equally_frequent_words_are_sorted_by_code_point() {
            assert_eq!(words("d b z é a z"), ["z", "a", "b", "d", "é"]);
        }

        #[test]
        fn words_may_have_any_script() {
            assert_eq!(words("Ärger ÄRGER"), ["ärger"]);
            assert_eq!(words("ΟΔΟΣ οδος"), ["οδος"]);
            assert_eq!(words("Москва_42"), ["42", "москва"]);
            assert_eq!(words("It's 5 o'clock"), ["5", "clock", "it", "o", "s"]);
        }

        #[test]
        fn at_most_ten_words_are_returned() {
            assert_eq!(words("l k j i h g f e d c b a").concat(), "abcdefghij");
            assert!(words(" …!").is_empty() && words("").is_empty());
        }
    }
}
