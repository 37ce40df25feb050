//! `compare-tables`: compares two CSV tables column by column.
//!
//! It imports `csv-stats`, which computes the summary of each table. A deploy links that function
//! in.

/// The interface of `csv-stats`, as `nebula inspect csv-stats` shows it, and a world that imports
/// it.
#[allow(clippy::all, missing_docs, unsafe_code, reason = "bindings")]
mod imports {
    nebula_sdk::generate!({
        inline: "
            package local:compare-tables;

            world imports {
                import nebula:functions/csv-stats;
            }

            package nebula:functions {
                interface csv-stats {
                    record table { csv: string, delimiter: option<char>, header: option<bool> }
                    record numbers { count: u32, min: f64, max: f64, mean: f64, standard-deviation: f64 }
                    record text { count: u32, distinct: u32, longest: u32 }
                    variant content { empty, numbers(numbers), text(text) }
                    record column { name: option<string>, missing: u32, content: content }
                    record summary { rows: u32, columns: list<column> }
                    variant error { bad-delimiter(char), bad-row(tuple<u32, string>) }
                    handle: func(table: table) -> result<summary, error>;
                }
            }
        ",
        world: "imports",
        generate_all,
    });

    pub(crate) use nebula::functions::csv_stats::*;
}

#[nebula_sdk::function]
mod compare_tables {
    use crate::imports::{self, Column, Content, Summary, Table};

    /// The differences between two tables.
    #[derive(Debug, PartialEq)]
    pub struct Comparison {
        /// The numbers of rows before and after.
        pub rows: (u32, u32),
        /// The columns that both tables have, in the order of the first.
        pub columns: Vec<Change>,
        /// The names of columns that only the first table has.
        pub gone: Vec<String>,
        /// The names of columns that only the second table has.
        pub new: Vec<String>,
    }

    /// The differences between two columns of the same name.
    #[derive(Debug, PartialEq)]
    pub struct Change {
        pub name: String,
        /// The numbers of missing values before and after.
        pub missing: (u32, u32),
        /// The increase of the mean, if both columns hold numbers.
        pub mean: Option<f64>,
    }

    /// The table that can't be read, with the row, counting from 1, and the reason.
    pub enum Error {
        Before(Option<u32>, String),
        After(Option<u32>, String),
    }

    /// Compares the tables `before` and `after`, both as CSV with a header.
    pub fn handle(before: String, after: String) -> Result<Comparison, Error> {
        let before = summarize(before).map_err(|Unreadable { row, reason }| Error::Before(row, reason))?;
        let after = summarize(after).map_err(|Unreadable { row, reason }| Error::After(row, reason))?;
        Ok(compare(&before, &after))
    }

    /// The reason why a table can't be read.
    struct Unreadable {
        /// The row, counting from 1.
        row: Option<u32>,
        reason: String,
    }

    fn summarize(csv: String) -> Result<Summary, Unreadable> {
        let table = Table { csv, delimiter: None, header: None };
        imports::handle(&table).map_err(|error| match error {
            imports::Error::BadRow((row, reason)) => Unreadable { row: Some(row), reason },
            imports::Error::BadDelimiter(delimiter) => {
                Unreadable { row: None, reason: format!("`{delimiter}` is not a delimiter") }
            }
        })
    }

    fn compare(before: &Summary, after: &Summary) -> Comparison {
        let change = |old: &Column| {
            let name = old.name.clone()?;
            let new = column(after, &name)?;
            Some(Change {
                name,
                missing: (old.missing, new.missing),
                mean: mean(new).zip(mean(old)).map(|(new, old)| new - old),
            })
        };
        Comparison {
            rows: (before.rows, after.rows),
            columns: before.columns.iter().filter_map(change).collect(),
            gone: only_in(before, after),
            new: only_in(after, before),
        }
    }

    fn column<'a>(summary: &'a Summary, name: &str) -> Option<&'a Column> {
        summary.columns.iter().find(|column| column.name.as_deref() == Some(name))
    }

    /// Returns the names of the columns that `summary` has and `other` doesn't.
    fn only_in(summary: &Summary, other: &Summary) -> Vec<String> {
        let names = summary.columns.iter().filter_map(|column| column.name.clone());
        names.filter(|name| column(other, name).is_none()).collect()
    }

    fn mean(column: &Column) -> Option<f64> {
        match &column.content {
            Content::Numbers(numbers) => Some(numbers.mean),
            Content::Empty | Content::Text(_) => None,
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::imports::Numbers;

        /// Makes up the summary that the imported function would return: it isn't available
        /// natively.
        fn summary(rows: u32, columns: &[(&str, Option<f64>)]) -> Summary {
            let column = |(name, mean): &(&str, Option<f64>)| {
                let numbers =
                    |mean| Numbers { count: rows, min: mean, max: mean, mean, standard_deviation: 0.0 };
                let content = mean.map_or(Content::Empty, |mean| Content::Numbers(numbers(mean)));
                Column { name: Some((*name).to_owned()), missing: 0, content }
            };
            Summary { rows, columns: columns.iter().map(column).collect() }
        }

        #[test]
        fn columns_are_compared_by_name() {
            let before = summary(3, &[("a", Some(1.0)), ("b", None), ("c", Some(2.0))]);
            let after = summary(4, &[("d", None), ("c", Some(5.0)), ("b", Some(1.0))]);
            let comparison = compare(&before, &after);
            assert_eq!(comparison.rows, (3, 4));
            let changes: Vec<_> =
                comparison.columns.iter().map(|change| (change.name.as_str(), change.mean)).collect();
            assert_eq!(changes, [("b", None), ("c", Some(3.0))]);
            assert_eq!((comparison.gone, comparison.new), (vec!["a".to_owned()], vec!["d".to_owned()]));
        }
    }
}
