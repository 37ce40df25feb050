//! `stats-markdown`: formats the summary that `csv-stats` returns as a Markdown document.
//!
//! The document has a line with the number of rows, and a table with a row for each column.

/// The header of the table. Numbers are aligned to the right.
const HEADER: &str = "\
| name | kind | count | missing | min | max | mean | standard deviation | distinct | longest |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|
";

#[nebula_sdk::function]
mod stats_markdown {
    use super::HEADER;

    /// The statistics of a table.
    pub struct Summary {
        /// The number of rows without the header.
        pub rows: u32,
        /// The columns from left to right.
        pub columns: Vec<Column>,
    }

    /// The statistics of a column.
    pub struct Column {
        /// The name in the header.
        pub name: Option<String>,
        /// The number of missing values.
        pub missing: u32,
        /// The kind and the statistics of the other values.
        pub content: Content,
    }

    /// The values of a column.
    pub enum Content {
        /// All values are missing.
        Empty,
        /// All values that aren't missing are numbers.
        Numbers(Numbers),
        /// Some values are text.
        Text(Text),
    }

    /// A column of numbers.
    pub struct Numbers {
        pub count: u32,
        pub min: f64,
        pub max: f64,
        pub mean: f64,
        /// The standard deviation of the population.
        pub standard_deviation: f64,
    }

    /// A column of text.
    pub struct Text {
        pub count: u32,
        /// The number of distinct values.
        pub distinct: u32,
        /// The length of the longest value in characters.
        pub longest: u32,
    }

    /// Formats `summary` as Markdown with a table in GitHub's dialect.
    pub fn handle(summary: Summary) -> String {
        let mut page = format!("Rows: {}\n\n{HEADER}", summary.rows);
        page.extend(summary.columns.iter().enumerate().map(|(index, column)| row(index, column)));
        page
    }

    /// Returns the row of the column at `index`.
    fn row(index: usize, column: &Column) -> String {
        let name = match column.name.as_deref() {
            Some(name) if !name.trim().is_empty() => escape(name),
            _ => format!("*column {}*", index + 1),
        };
        let missing = column.missing;
        match &column.content {
            Content::Empty => format!("| {name} | empty | 0 | {missing} | | | | | | |\n"),
            Content::Numbers(Numbers { count, min, max, mean, standard_deviation }) => {
                let [min, max, mean, deviation] = [min, max, mean, standard_deviation].map(|n| round(*n));
                format!(
                    "| {name} | numbers | {count} | {missing} | {min} | {max} | {mean} | {deviation} | | |\n"
                )
            }
            Content::Text(Text { count, distinct, longest }) => {
                format!("| {name} | text | {count} | {missing} | | | | | {distinct} | {longest} |\n")
            }
        }
    }

    /// Escapes a name so that it stays in its cell and holds no markup, HTML or line break.
    fn escape(name: &str) -> String {
        let mut text = String::with_capacity(name.len());
        for c in name.chars() {
            if matches!(c, '|' | '\\' | '`' | '*' | '_' | '~' | '[' | ']' | '<' | '&') {
                text.push('\\');
            }
            text.push(if c.is_control() { ' ' } else { c });
        }
        text
    }

    /// Rounds to six significant digits, or to a whole number if that has more. Very large and very
    /// small numbers get an exponent.
    fn round(number: f64) -> String {
        // Adding zero removes the sign of a negative zero.
        let number = number + 0.0;
        let scientific = format!("{number:.5e}");
        // Numbers that aren't finite have no exponent.
        let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
        match exponent.parse::<i32>() {
            Ok(exponent @ -4..15) => {
                trim_zeros(&format!("{number:.*}", (5 - exponent).max(0) as usize)).to_owned()
            }
            _ => format!("{}e{exponent}", trim_zeros(digits)),
        }
    }

    /// Removes zeros at the end of a fraction.
    fn trim_zeros(digits: &str) -> &str {
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
        fn a_table_without_columns_is_the_header_only() {
            let page = handle(Summary { rows: 0, columns: Vec::new() });
            assert_eq!(page, format!("Rows: 0\n\n{HEADER}"));
        }

        #[test]
        fn names_are_escaped() {
            for (name, text) in [
                ("a|b", r"a\|b"),
                (r"a\|b", r"a\\\|b"),
                ("a\nb", "a b"),
                ("*a* <b>", r"\*a\* \<b>"),
                ("größe", "größe"),
            ] {
                assert_eq!(escape(name), text);
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
                assert_eq!(round(number), text, "{number}");
            }
        }
    }
}
