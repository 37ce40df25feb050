//! `csv-stats`: computes statistics of each column of a CSV table.
//!
//! A column is numeric if all its values are numbers, and text otherwise. Missing values don't
//! count.

pub use self::csv_stats::{Column, Content, Error, Numbers, Summary, Table, Text, handle};

#[nebula_sdk::function]
mod csv_stats {
    use std::collections::HashSet;

    /// A table as CSV.
    #[derive(Default)]
    pub struct Table {
        /// The text of the table (RFC 4180).
        pub csv: String,
        /// The character between values; a comma by default.
        pub delimiter: Option<char>,
        /// True, the default, if the first row holds the names of the columns.
        pub header: Option<bool>,
    }

    /// The statistics of a table.
    #[derive(Debug, PartialEq)]
    pub struct Summary {
        /// The number of rows without the header.
        pub rows: u32,
        /// The columns from left to right.
        pub columns: Vec<Column>,
    }

    /// The statistics of a column.
    #[derive(Debug, PartialEq)]
    pub struct Column {
        /// The name in the header.
        pub name: Option<String>,
        /// The number of missing values.
        pub missing: u32,
        /// The kind and the statistics of the other values.
        pub content: Content,
    }

    /// The values of a column.
    #[derive(Debug, PartialEq)]
    pub enum Content {
        /// All values are missing.
        Empty,
        /// All values that aren't missing are numbers.
        Numbers(Numbers),
        /// Some values are text.
        Text(Text),
    }

    /// A column of numbers.
    #[allow(missing_docs, reason = "the names say it")]
    #[derive(Debug, PartialEq)]
    pub struct Numbers {
        pub count: u32,
        pub min: f64,
        pub max: f64,
        pub mean: f64,
        /// The standard deviation of the population.
        pub standard_deviation: f64,
    }

    /// A column of text.
    #[allow(missing_docs, reason = "the names say it")]
    #[derive(Debug, PartialEq)]
    pub struct Text {
        pub count: u32,
        /// The number of distinct values.
        pub distinct: u32,
        /// The length of the longest value in characters.
        pub longest: u32,
    }

    /// The reason why a table has no summary.
    #[derive(Debug, PartialEq, Eq)]
    pub enum Error {
        /// The delimiter isn't an ASCII character, or is a quote or a line break.
        BadDelimiter(char),
        /// The row, counting from 1, that can't be read, and the reason.
        BadRow(u32, String),
    }

    /// Computes statistics of each column of `table`.
    pub fn handle(table: Table) -> Result<Summary, Error> {
        let delimiter = table.delimiter.unwrap_or(',');
        if !delimiter.is_ascii() || matches!(delimiter, '"' | '\n' | '\r') {
            return Err(Error::BadDelimiter(delimiter));
        }
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter as u8)
            .has_headers(false)
            .trim(csv::Trim::All)
            .from_reader(table.csv.as_bytes());
        let mut names: Vec<Option<String>> = Vec::new();
        let mut columns: Vec<ColumnCounter> = Vec::new();
        let mut rows = 0;
        for (index, row) in reader.records().enumerate() {
            let row = row.map_err(|error| Error::BadRow(index as u32 + 1, error.to_string()))?;
            columns.resize_with(row.len(), ColumnCounter::default);
            if index == 0 && table.header.unwrap_or(true) {
                names = row.iter().map(|name| Some(name.to_owned())).collect();
                continue;
            }
            rows += 1;
            for (column, value) in columns.iter_mut().zip(&row) {
                column.add(value);
            }
        }
        names.resize(columns.len(), None);
        let columns = names.into_iter().zip(columns).map(|(name, column)| column.summary(name)).collect();
        Ok(Summary { rows, columns })
    }

    /// The values of a column counted so far.
    #[derive(Default)]
    struct ColumnCounter {
        missing: u32,
        numbers: Vec<f64>,
        distinct: HashSet<String>,
        present: u32,
        longest: usize,
    }

    impl ColumnCounter {
        fn add(&mut self, value: &str) {
            if value.is_empty() {
                self.missing += 1;
                return;
            }
            self.present += 1;
            self.longest = self.longest.max(value.chars().count());
            self.numbers.extend(value.parse::<f64>().ok().filter(|number| number.is_finite()));
            if !self.distinct.contains(value) {
                self.distinct.insert(value.to_owned());
            }
        }

        fn summary(self, name: Option<String>) -> Column {
            let content = if self.present == 0 {
                Content::Empty
            } else if self.numbers.len() as u32 == self.present {
                Content::Numbers(numbers(&self.numbers))
            } else {
                let distinct = self.distinct.len() as u32;
                Content::Text(Text { count: self.present, distinct, longest: self.longest as u32 })
            };
            Column { name, missing: self.missing, content }
        }
    }

    /// Computes the statistics of at least one value.
    fn numbers(values: &[f64]) -> Numbers {
        // Welford's algorithm: a running mean keeps its precision for large values.
        let (mut mean, mut squares) = (0.0, 0.0);
        for (index, value) in values.iter().enumerate() {
            let before = value - mean;
            mean += before / (index + 1) as f64;
            squares += before * (value - mean);
        }
        Numbers {
            count: values.len() as u32,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean,
            standard_deviation: (squares / values.len() as f64).sqrt(),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn summary(csv: &str) -> Summary {
            handle(Table { csv: csv.to_owned(), ..Table::default() }).unwrap()
        }

        #[test]
        fn columns_are_numbers_or_text_or_empty() {
            let summary = summary("n,t,e\n1,a,\n3,a,\n,bb,\n");
            assert_eq!(summary.rows, 3);
            let numbers = Numbers { count: 2, min: 1.0, max: 3.0, mean: 2.0, standard_deviation: 1.0 };
            let contents: Vec<_> = summary.columns.iter().map(|column| &column.content).collect();
            assert_eq!(*contents[0], Content::Numbers(numbers));
            assert_eq!(*contents[1], Content::Text(Text { count: 3, distinct: 2, longest: 2 }));
            assert_eq!(*contents[2], Content::Empty);
            assert_eq!(summary.columns[0].missing, 1);
            assert_eq!(summary.columns[0].name.as_deref(), Some("n"));
        }

        #[test]
        fn without_a_header_columns_have_no_names() {
            let table = Table { csv: "1;2".to_owned(), delimiter: Some(';'), header: Some(false) };
            let summary = handle(table).unwrap();
            assert_eq!((summary.rows, summary.columns.len()), (1, 2));
            assert_eq!(summary.columns[0].name, None);
        }

        #[test]
        fn an_empty_text_is_an_empty_table() {
            assert_eq!(summary(""), Summary { rows: 0, columns: Vec::new() });
        }

        #[test]
        fn rows_of_another_length_and_bad_delimiters_are_errors() {
            let table = Table { csv: "a,b\n1\n".to_owned(), ..Table::default() };
            assert!(matches!(handle(table), Err(Error::BadRow(2, _))));
            let table = Table { delimiter: Some('é'), ..Table::default() };
            assert_eq!(handle(table), Err(Error::BadDelimiter('é')));
        }
    }
}
