//! `compare-tables`: what has changed from one CSV table to another, column by column.
//!
//! Each is summed up by `csv-stats`, which this function imports: deployed, it has that linked in.

/// `csv-stats` as `nebula inspect csv-stats` shows it, and a world that imports it.
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

    /// What has changed.
    #[derive(Debug, PartialEq)]
    pub struct Comparison {
        /// Rows before and after.
        pub rows: (u32, u32),
        /// Columns that are in both, by their names, in the order in which they were.
        pub columns: Vec<Change>,
        /// Names of columns that are gone.
        pub gone: Vec<String>,
        /// Names of columns that are new.
        pub new: Vec<String>,
    }

    /// What has become of a column.
    #[derive(Debug, PartialEq)]
    pub struct Change {
        pub name: String,
        /// Values that are missing, before and after.
        pub missing: (u32, u32),
        /// By how much the mean has grown, where both are numbers.
        pub mean: Option<f64>,
    }

    /// Why a table can't be read: the row, counting from 1, and what is wrong with it.
    pub enum Error {
        Before(Option<u32>, String),
        After(Option<u32>, String),
    }

    /// What has changed from the table `before` to the table `after`, both as CSV with a header.
    pub fn handle(before: String, after: String) -> Result<Comparison, Error> {
        let before = summed_up(before).map_err(|(row, why)| Error::Before(row, why))?;
        let after = summed_up(after).map_err(|(row, why)| Error::After(row, why))?;
        Ok(compared(&before, &after))
    }

    fn summed_up(csv: String) -> Result<Summary, (Option<u32>, String)> {
        let table = Table { csv, delimiter: None, header: None };
        imports::handle(&table).map_err(|error| match error {
            imports::Error::BadRow((row, why)) => (Some(row), why),
            imports::Error::BadDelimiter(delimiter) => (None, format!("{delimiter} separates nothing")),
        })
    }

    fn compared(before: &Summary, after: &Summary) -> Comparison {
        let change = |was: &Column| {
            let name = was.name.clone()?;
            let is = named(after, &name)?;
            Some(Change {
                name,
                missing: (was.missing, is.missing),
                mean: mean(is).zip(mean(was)).map(|(is, was)| is - was),
            })
        };
        Comparison {
            rows: (before.rows, after.rows),
            columns: before.columns.iter().filter_map(change).collect(),
            gone: without(before, after),
            new: without(after, before),
        }
    }

    fn named<'a>(summary: &'a Summary, name: &str) -> Option<&'a Column> {
        summary.columns.iter().find(|column| column.name.as_deref() == Some(name))
    }

    /// Names of the columns of one that the other hasn't.
    fn without(one: &Summary, other: &Summary) -> Vec<String> {
        let names = one.columns.iter().filter_map(|column| column.name.clone());
        names.filter(|name| named(other, name).is_none()).collect()
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

        /// What is imported isn't there natively: its answers are made up.
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
            let compared = compared(&before, &after);
            assert_eq!(compared.rows, (3, 4));
            let changes: Vec<_> = compared.columns.iter().map(|it| (it.name.as_str(), it.mean)).collect();
            assert_eq!(changes, [("b", None), ("c", Some(3.0))]);
            assert_eq!((compared.gone, compared.new), (vec!["a".to_owned()], vec!["d".to_owned()]));
        }
    }
}
