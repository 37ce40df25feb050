//! `patch-json`: applies a JSON Patch (RFC 6902) to a JSON document.
//!
//! `{"document": "{\"a\":1}", "patch": "[{\"op\":\"remove\",\"path\":\"/a\"}]"}` returns `"{}"`.

#[nebula_sdk::function]
mod patch_json {
    use json_patch::{Patch, patch};
    use serde_json::Value;

    /// A document and a patch, both as JSON text.
    pub struct Change {
        /// Any JSON document.
        pub document: String,
        /// A JSON array of operations.
        pub patch: String,
    }

    /// The place and the reason of a syntax error.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Malformed {
        /// The line, counting from 1.
        pub line: u32,
        /// The column, counting from 1.
        pub column: u32,
        /// The reason.
        pub reason: String,
    }

    /// An operation that failed. The document is unchanged.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Failed {
        /// The index of the operation, counting from 0.
        pub operation: u32,
        /// The JSON pointer of the operation (RFC 6901).
        pub path: String,
        /// The reason.
        pub reason: String,
    }

    /// The reason why the patch was not applied.
    #[derive(Debug, PartialEq, Eq)]
    pub enum Error {
        /// The document isn't JSON.
        InvalidDocument(Malformed),
        /// The patch isn't a JSON Patch.
        InvalidPatch(Malformed),
        /// An operation failed; a `test` fails if the value differs.
        OperationFailed(Failed),
    }

    /// Returns the patched document as JSON text.
    pub fn handle(change: Change) -> Result<String, Error> {
        let mut document: Value = serde_json::from_str(&change.document)
            .map_err(|error| Error::InvalidDocument(malformed(&error)))?;
        let operations: Patch =
            serde_json::from_str(&change.patch).map_err(|error| Error::InvalidPatch(malformed(&error)))?;
        patch(&mut document, &operations).map_err(|error| {
            Error::OperationFailed(Failed {
                operation: error.operation as u32,
                path: error.path.to_string(),
                reason: error.kind.to_string(),
            })
        })?;
        Ok(document.to_string())
    }

    fn malformed(error: &serde_json::Error) -> Malformed {
        Malformed { line: error.line() as u32, column: error.column() as u32, reason: error.to_string() }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn patched(document: &str, patch: &str) -> Result<String, Error> {
            handle(Change { document: document.to_owned(), patch: patch.to_owned() })
        }

        #[test]
        fn operations_are_applied_in_order() {
            let patch = r#"[{"op":"add","path":"/b","value":[1]},{"op":"add","path":"/b/-","value":2},
                {"op":"move","from":"/a","path":"/c"},{"op":"test","path":"/c","value":1}]"#;
            assert_eq!(patched(r#"{"a":1}"#, patch).unwrap(), r#"{"b":[1,2],"c":1}"#);
        }

        #[test]
        fn the_error_names_the_failed_operation() {
            let patch = r#"[{"op":"add","path":"/b","value":1},{"op":"remove","path":"/x"}]"#;
            let Err(Error::OperationFailed(failed)) = patched("{}", patch) else { panic!("it should fail") };
            assert_eq!((failed.operation, failed.path.as_str()), (1, "/x"));
        }

        #[test]
        fn the_error_says_which_text_is_malformed() {
            assert!(matches!(patched("{", "[]"), Err(Error::InvalidDocument(_))));
            assert!(matches!(patched("{}", "[{}]"), Err(Error::InvalidPatch(_))));
        }
    }
}
