//! `stats-markdown`: the summary of a table, as `csv-stats` returns it, as a Markdown document.
//!
//! A line says how many rows there are; below it is a table with a row for each column.

/// What each cell of a row holds; numbers are to the right.
const HEADER: &str = "\
| name | kind | count | missing | min | max | mean | standard deviation | distinct | longest |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|
";

#[nebula_sdk::function]
mod stats_markdown {
    use super::HEADER;

    /// What is in a table.
    pub struct Summary {
        /// Rows, without the header.
        pub rows: u32,
        /// From left to right.
        pub columns: Vec<Column>,
    }

    /// What is in a column.
    pub struct Column {
        /// From the header, if there is one.
        pub name: Option<String>,
        /// How many of its values are missing.
        pub missing: u32,
        /// What the others are.
        pub content: Content,
    }

    /// What a column's values are.
    pub enum Content {
        /// All of them are missing.
        Empty,
        /// All that are there are numbers.
        Numbers(Numbers),
        /// Some are not.
        Text(Text),
    }

    /// A column of numbers.
    pub struct Numbers {
        pub count: u32,
        pub min: f64,
        pub max: f64,
        pub mean: f64,
        /// Of the population.
        pub standard_deviation: f64,
    }

    /// A column of text.
    pub struct Text {
        pub count: u32,
        /// How many of its values are different.
        pub distinct: u32,
        /// The longest value's length in characters.
        pub longest: u32,
    }

    /// `summary` as Markdown, with a table as GitHub's dialect has them.
    pub fn handle(summary: Summary) -> String {
        let mut page = format!("Rows: {}\n\n{HEADER}", summary.rows);
        page.extend(summary.columns.iter().enumerate().map(|(index, column)| row(index, column)));
        page
    }

    /// The row of the column at `index`.
    fn row(index: usize, column: &Column) -> String {
        let name = match column.name.as_deref() {
            Some(name) if !name.trim().is_empty() => escaped(name),
            _ => format!("*column {}*", index + 1),
        };
        let missing = column.missing;
        match &column.content {
            Content::Empty => format!("| {name} | empty | 0 | {missing} | | | | | | |\n"),
            Content::Numbers(Numbers { count, min, max, mean, standard_deviation }) => {
                let [min, max, mean, deviation] = [min, max, mean, standard_deviation].map(|n| rounded(*n));
                format!(
                    "| {name} | numbers | {count} | {missing} | {min} | {max} | {mean} | {deviation} | | |\n"
                )
            }
            Content::Text(Text { count, distinct, longest }) => {
                format!("| {name} | text | {count} | {missing} | | | | | {distinct} | {longest} |\n")
            }
        }
    }

    /// A name as text that stays in its cell: no markup, no HTML, no line's end.
    fn escaped(name: &str) -> String {
        let mut text = String::with_capacity(name.len());
        for c in name.chars() {
            if matches!(c, '|' | '\\' | '`' | '*' | '_' | '~' | '[' | ']' | '<' | '&') {
                text.push('\\');
            }
            text.push(if c.is_control() { ' ' } else { c });
        }
        text
    }

    /// To six significant digits, or to a whole number where that is more; very large and very small ones with
    /// an exponent.
    fn rounded(number: f64) -> String {
        // A zero has no sign.
        let number = number + 0.0;
        let scientific = format!("{number:.5e}");
        // What is not finite has no exponent.
        let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
        match exponent.parse::<i32>() {
            Ok(exponent @ -4..15) => {
                trimmed(&format!("{number:.*}", (5 - exponent).max(0) as usize)).to_owned()
            }
            _ => format!("{}e{exponent}", trimmed(digits)),
        }
    }

    /// Without zeros at the end of a fraction.
    fn trimmed(digits: &str) -> &str {
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn column(name: &str, content: Content) -> Column {
            Column { name: Some(name.to_owned()), missing: 1, content }
        }

        #[test]
        fn each_column_has_a_row() {
            let numbers = Numbers { count: 2, min: -1.0, max: 2.5, mean: 0.75, standard_deviation: 1.75 };
            let columns = vec![
                column("n", Content::Numbers(numbers)),
                column("t", Content::Text(Text { count: 2, distinct: 1, longest: 9 })),
                Column { name: None, missing: 3, content: Content::Empty },
            ];
            let page = handle(Summary { rows: 3, columns });
            let lines: Vec<_> = page.lines().collect();
            assert_eq!(lines[0], "Rows: 3");
            assert_eq!(lines[4], "| n | numbers | 2 | 1 | -1 | 2.5 | 0.75 | 1.75 | | |");
            assert_eq!(lines[5], "| t | text | 2 | 1 | | | | | 1 | 9 |");
            assert_eq!(lines[6], "| *column 3* | empty | 0 | 3 | | | | | | |");
            assert!(lines[2..].iter().all(|line| line.matches('|').count() == 11));
        }

        #[test]
        fn without_columns_the_table_is_its_header() {
            let page = handle(Summary { rows: 0, columns: Vec::new() });
            assert_eq!(page, format!("Rows: 0\n\n{HEADER}"));
        }

        #[test]
        fn names_stay_in_their_cells() {
            for (name, text) in [
                ("a|b", r"a\|b"),
                (r"a\|b", r"a\\\|b"),
                ("a\nb", "a b"),
                ("*a* <b>", r"\*a\* \<b>"),
                ("größe", "größe"),
            ] {
                assert_eq!(escaped(name), text);
            }
            assert!(row(4, &column("  ", Content::Empty)).starts_with("| *column 5* |"));
        }

        #[test]
        fn numbers_are_rounded() {
            for (number, text) in [
                (0.0, "0"),
                (-0.0, "0"),
                (100.0, "100"),
                (1.0 / 3.0, "0.333333"),
                (0.1 + 0.2, "0.3"),
                (-2.0 / 3.0, "-0.666667"),
                (999_999.5, "1000000"),
                (1_203_671.333, "1203671"),
                (0.000_123_456_789, "0.000123457"),
                (0.000_012_5, "1.25e-5"),
                (1e15, "1e15"),
                (f64::MAX, "1.79769e308"),
                (f64::NAN, "NaN"),
                (f64::NEG_INFINITY, "-inf"),
            ] {
                assert_eq!(rounded(number), text, "{number}");
            }
        }
    }
}
