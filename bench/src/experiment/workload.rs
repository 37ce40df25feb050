//! The functions of the experiment and their inputs.
//!
//! Each function has three inputs: with the small one, starting dominates, and with the large one,
//! computing. Inputs are generated from fixed seeds, so that every run has the same ones.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::ensure;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};

use super::random::Random;

/// A function; `functions/` has the crate of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Function {
    FibonacciRecursive,
    Exponential,
    Factorial,
    NthPrime,
    Thumbnail,
    Markdown,
    CsvStats,
}

/// The size of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Size {
    Small,
    Medium,
    Large,
}

impl Size {
    pub(crate) const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    /// Returns the value for this size.
    fn pick<T>(self, small: T, medium: T, large: T) -> T {
        match self {
            Self::Small => small,
            Self::Medium => medium,
            Self::Large => large,
        }
    }
}

impl Function {
    pub(crate) const ALL: [Self; 7] = [
        Self::FibonacciRecursive,
        Self::Exponential,
        Self::Factorial,
        Self::NthPrime,
        Self::Thumbnail,
        Self::Markdown,
        Self::CsvStats,
    ];

    /// Returns the name of the crate.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FibonacciRecursive => "fibonacci-recursive",
            Self::Exponential => "exponential",
            Self::Factorial => "factorial",
            Self::NthPrime => "nth-prime",
            Self::Thumbnail => "thumbnail",
            Self::Markdown => "markdown",
            Self::CsvStats => "csv-stats",
        }
    }

    /// Returns the media type of the input.
    pub(crate) fn media_type(self) -> &'static str {
        if self == Self::Thumbnail { "image/png" } else { "application/json" }
    }

    /// Describes the input of a size in words.
    pub(crate) fn describe(self, size: Size) -> String {
        match self {
            Self::FibonacciRecursive => format!("n = {}", fibonacci_n(size)),
            Self::Exponential => format!("x = {}", exponential_x(size)),
            Self::Factorial => format!("n = {}", factorial_n(size)),
            Self::NthPrime => format!("n = {}", prime_n(size)),
            Self::Thumbnail => {
                let Extent { width, height } = image_extent(size);
                format!("{width} × {height} pixels")
            }
            Self::Markdown => format!("{} sections", markdown_sections(size)),
            Self::CsvStats => format!("{} rows", csv_rows(size)),
        }
    }

    /// Generates the input of a size.
    ///
    /// # Errors
    /// Returns an error if the input can't be encoded.
    pub(crate) fn input(self, size: Size) -> anyhow::Result<Vec<u8>> {
        Ok(match self {
            Self::FibonacciRecursive => fibonacci_n(size).to_string().into_bytes(),
            Self::Exponential => serde_json::to_vec(&serde_json::json!({ "x": exponential_x(size) }))?,
            Self::Factorial => factorial_n(size).to_string().into_bytes(),
            Self::NthPrime => prime_n(size).to_string().into_bytes(),
            Self::Thumbnail => png(image_extent(size))?,
            Self::Markdown => serde_json::to_vec(&document(markdown_sections(size)))?,
            Self::CsvStats => serde_json::to_vec(&serde_json::json!({ "csv": table(csv_rows(size)) }))?,
        })
    }

    /// Checks that two platforms gave the same answer: as JSON, or byte for byte.
    ///
    /// # Errors
    /// Returns an error with the beginning of both if they differ.
    pub(crate) fn ensure_same(self, expected: &[u8], found: &[u8]) -> anyhow::Result<()> {
        if expected == found {
            return Ok(());
        }
        let parse = |bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok();
        let is_same =
            self != Self::Thumbnail && parse(expected).is_some_and(|json| Some(json) == parse(found));
        let start = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        ensure!(is_same, "another answer: {} instead of {}", start(found), start(expected));
        Ok(())
    }
}

fn fibonacci_n(size: Size) -> u32 {
    size.pick(15, 27, 37)
}

fn exponential_x(size: Size) -> f64 {
    size.pick(1.0, 50.0, 700.0)
}

fn factorial_n(size: Size) -> u32 {
    size.pick(20, 1_000, 10_000)
}

fn prime_n(size: Size) -> u32 {
    size.pick(10, 10_000, 1_000_000)
}

fn markdown_sections(size: Size) -> u32 {
    size.pick(1, 50, 2_000)
}

fn csv_rows(size: Size) -> u32 {
    size.pick(10, 1_000, 30_000)
}

/// The width and height of an image in pixels.
#[derive(Clone, Copy, Debug)]
struct Extent {
    width: u32,
    height: u32,
}

fn image_extent(size: Size) -> Extent {
    let (width, height) = size.pick((64, 64), (640, 480), (2048, 1536));
    Extent { width, height }
}

/// Draws a picture with gradients and noise, and encodes it as PNG.
fn png(Extent { width, height }: Extent) -> anyhow::Result<Vec<u8>> {
    let mut random = Random::new(1);
    let mut pixels = ZlibEncoder::new(Vec::new(), Compression::fast());
    for y in 0..height {
        // Each line begins with the number of its filter: none.
        let mut line = vec![0];
        for x in 0..width {
            let noise = random.below(16) as u32;
            let gradient = |value: u32, end: u32| (value * 239 / end + noise) as u8;
            line.extend([gradient(x, width), gradient(y, height), gradient(x ^ y, width.max(height) * 2)]);
        }
        pixels.write_all(&line)?;
    }
    // 8 bits of red, green and blue each; default compression and filters, not interlaced.
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in [(b"IHDR", header), (b"IDAT", pixels.finish()?), (b"IEND", Vec::new())] {
        let mut checksum = flate2::Crc::new();
        checksum.update(name);
        checksum.update(&content);
        file.extend(u32::try_from(content.len())?.to_be_bytes());
        file.extend([&name[..], &content, &checksum.sum().to_be_bytes()].concat());
    }
    Ok(file)
}

/// Words of the generated texts.
const WORDS: [&str; 12] = [
    "pure", "function", "start", "memory", "table", "energy", "idle", "answer", "request", "host", "digest",
    "cold",
];

/// Writes a document of sections with a heading, a paragraph, a list and a table.
fn document(sections: u32) -> String {
    let mut random = Random::new(2);
    let mut word = || WORDS[random.below(WORDS.len())];
    let mut text = String::new();
    for section in 1..=sections {
        // Writing to a `String` can't fail.
        let _ = writeln!(text, "## {section}. {} {}\n", word(), word());
        for _ in 0..5 {
            let _ =
                writeln!(text, "The *{}* of a **{}** has a `{}` and a {}.", word(), word(), word(), word());
        }
        let _ = writeln!(text, "\n- {}\n- [{}](https://example.org/{})\n", word(), word(), word());
        let _ = writeln!(text, "| {} | {} |\n|---|---|\n| {} | {} |\n", word(), word(), word(), word());
    }
    text
}

/// Writes a table with a column of names, two of numbers and one with gaps.
fn table(rows: u32) -> String {
    let mut random = Random::new(3);
    let mut text = "name,count,share,note\n".to_owned();
    for row in 0..rows {
        let (word, count, share) = (WORDS[random.below(WORDS.len())], random.below(100_000), random.unit());
        let note = if row % 3 == 0 { "" } else { word };
        let _ = writeln!(text, "{word}-{row},{count},{share:.6},{note}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_deterministic_and_grow() {
        for function in Function::ALL {
            let inputs = Size::ALL.map(|size| function.input(size).unwrap());
            assert_eq!(inputs[2], function.input(Size::Large).unwrap());
            assert!(inputs[0] != inputs[1] && inputs[1] != inputs[2], "{}", function.name());
            assert!(inputs[0].len() <= inputs[2].len() && inputs[2].len() < 16 << 20, "{}", function.name());
        }
    }

    #[test]
    fn answers_are_compared_by_their_content() {
        let json = Function::CsvStats;
        json.ensure_same(br#"{"a":1,"b":2}"#, br#"{ "b": 2, "a": 1 }"#).unwrap();
        assert!(json.ensure_same(b"1", b"2").is_err());
        assert!(json.ensure_same(b"x", b"y").is_err(), "neither is JSON");
        assert!(Function::Thumbnail.ensure_same(b"1", b"1 ").is_err());
    }
}
