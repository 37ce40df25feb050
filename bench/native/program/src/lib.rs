//! The functions of the experiment behind one signature, with the input and the output that Nebula
//! gives them: JSON of the typed ones, bytes of the raw one.
//!
//! The functions are the crates in `functions/`, unchanged. Only the conversion from and to JSON is
//! here; in Nebula the host converts.

pub mod pipe;

use serde::de::DeserializeOwned;

/// Calls the function `name` and returns its output.
///
/// # Errors
/// Returns the function's error in words, or that the name or the input is invalid.
pub fn call(name: &str, input: &[u8]) -> Result<Vec<u8>, String> {
    match name {
        #[cfg(feature = "fibonacci-recursive")]
        "fibonacci-recursive" => output(fibonacci_recursive::handle(parse(input)?)?),
        #[cfg(feature = "exponential")]
        "exponential" => numbers::exponential(input),
        #[cfg(feature = "factorial")]
        "factorial" => output(factorial::handle(parse(input)?)?),
        #[cfg(feature = "nth-prime")]
        "nth-prime" => output(nth_prime::handle(parse(input)?)?),
        #[cfg(feature = "thumbnail")]
        "thumbnail" => match thumbnail::handle(nebula_sdk::Payload::new("image/png", input)) {
            Ok(payload) => Ok(payload.body),
            Err(error) => Err(format!("{error:?}")),
        },
        #[cfg(feature = "markdown")]
        "markdown" => output(markdown::handle(parse(input)?)),
        #[cfg(feature = "csv-stats")]
        "csv-stats" => table::csv_stats(input),
        _ => Err(format!("this program has no function `{name}`")),
    }
}

#[allow(dead_code, reason = "a program of `thumbnail` alone has no JSON")]
fn parse<T: DeserializeOwned>(input: &[u8]) -> Result<T, String> {
    serde_json::from_slice(input).map_err(|error| format!("the input is invalid: {error}"))
}

#[allow(dead_code, reason = "a program of `thumbnail` alone has no JSON")]
fn output(value: impl serde::Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec(&value).map_err(|error| format!("the output is not JSON: {error}"))
}

/// The records of `exponential`.
#[cfg(feature = "exponential")]
mod numbers {
    use serde::{Deserialize, Serialize};

    #[derive(Deserialize)]
    struct Input {
        x: f64,
        terms: Option<u32>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Output {
        value: f64,
        last_term: f64,
        terms_used: u32,
    }

    pub(crate) fn exponential(input: &[u8]) -> Result<Vec<u8>, String> {
        let Input { x, terms } = crate::parse(input)?;
        let exponential::Estimate { value, last_term, terms_used } = exponential::handle(x, terms)?;
        crate::output(Output { value, last_term, terms_used })
    }
}

/// The records of `csv-stats`.
#[cfg(feature = "csv-stats")]
mod table {
    use csv_stats::{Content, Numbers, Summary, Table, Text};
    use serde::Deserialize;
    use serde_json::{Value, json};

    #[derive(Deserialize)]
    struct Input {
        csv: String,
    }

    pub(crate) fn csv_stats(input: &[u8]) -> Result<Vec<u8>, String> {
        let Input { csv } = crate::parse(input)?;
        let table = Table { csv, ..Table::default() };
        crate::output(summary(csv_stats::handle(table).map_err(|error| format!("{error:?}"))?))
    }

    fn summary(summary: Summary) -> Value {
        let columns: Vec<Value> = summary
            .columns
            .into_iter()
            .map(|column| {
                let content = content(column.content);
                json!({ "name": column.name, "missing": column.missing, "content": content })
            })
            .collect();
        json!({ "rows": summary.rows, "columns": columns })
    }

    fn content(content: Content) -> Value {
        match content {
            Content::Empty => json!("empty"),
            Content::Numbers(Numbers { count, min, max, mean, standard_deviation }) => json!({ "numbers": {
                "count": count, "min": min, "max": max, "mean": mean, "standard-deviation": standard_deviation,
            } }),
            Content::Text(Text { count, distinct, longest }) => {
                json!({ "text": { "count": count, "distinct": distinct, "longest": longest } })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::call;

    /// The samples in `functions/` are what Nebula returns.
    #[test]
    fn outputs_equal_those_of_the_samples() {
        let functions = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../functions");
        let read =
            |name: &str, file: &str| std::fs::read(functions.join(name).join("sample").join(file)).unwrap();
        let names = [
            "fibonacci-recursive",
            "exponential",
            "factorial",
            "nth-prime",
            "thumbnail",
            "markdown",
            "csv-stats",
        ];
        for name in names {
            let (input, expected) = match name {
                "thumbnail" => (read(name, "input.png"), read(name, "output.png")),
                "markdown" => {
                    let json =
                        |file| serde_json::to_vec(&String::from_utf8(read(name, file)).unwrap()).unwrap();
                    (json("input.md"), json("output.html"))
                }
                _ => (read(name, "input.json"), read(name, "output.json")),
            };
            let output = call(name, &input).unwrap();
            if name == "thumbnail" {
                assert!(output == expected, "{name}");
            } else {
                let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
                assert_eq!(json(&output), json(&expected), "{name}");
            }
        }
    }

    #[test]
    fn unknown_functions_and_inputs_are_errors() {
        assert!(call("no-such-function", b"1").unwrap_err().contains("no-such-function"));
        assert!(call("nth-prime", b"{}").unwrap_err().contains("input"));
    }
}
