//! `patch-json`: a JSON document, changed as a JSON Patch (RFC 6902) says.
//!
//! `{"document": "{\"a\":1}", "patch": "[{\"op\":\"remove\",\"path\":\"/a\"}]"}` gives `"{}"`.

#[nebula_sdk::function]
mod patch_json {
    use json_patch::{Patch, patch};
    use serde_json::Value;

    /// What to change, and how: two JSON texts.
    pub struct Change {
        /// Any JSON document.
        pub document: String,
        /// An array of operations.
        pub patch: String,
    }

    /// Where one of the texts stops being what it should be.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Malformed {
        /// Counting from 1.
        pub line: u32,
        /// Counting from 1.
        pub column: u32,
        /// What is wrong there.
        pub reason: String,
    }

    /// An operation that can't be done. The document is left as it was.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Failed {
        /// Which, counting from 0.
        pub operation: u32,
        /// Its JSON pointer (RFC 6901).
        pub path: String,
        /// Why not.
        pub reason: String,
    }

    /// Why there is no changed document.
    #[derive(Debug, PartialEq, Eq)]
    pub enum Error {
        /// The document is no JSON.
        InvalidDocument(Malformed),
        /// The patch is no JSON Patch.
        InvalidPatch(Malformed),
        /// An operation failed, or a test did.
        OperationFailed(Failed),
    }

    /// The changed document, as JSON text.
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

        fn changed(document: &str, patch: &str) -> Result<String, Error> {
            handle(Change { document: document.to_owned(), patch: patch.to_owned() })
        }

        #[test]
        fn operations_are_done_in_order() {
            let patch = r#"[{"op":"add","path":"/b","value":[1]},{"op":"add","path":"/b/-","value":2},
                {"op":"move","from":"/a","path":"/c"},{"op":"test","path":"/c","value":1}]"#;
            assert_eq!(changed(r#"{"a":1}"#, patch).unwrap(), r#"{"b":[1,2],"c":1}"#);
        }

        #[test]
        fn a_failed_operation_is_named() {
            let patch = r#"[{"op":"add","path":"/b","value":1},{"op":"remove","path":"/x"}]"#;
            let Err(Error::OperationFailed(failed)) = changed("{}", patch) else { panic!("it should fail") };
            assert_eq!((failed.operation, failed.path.as_str()), (1, "/x"));
        }

        #[test]
        fn malformed_texts_are_told_apart() {
            assert!(matches!(changed("{", "[]"), Err(Error::InvalidDocument(_))));
            assert!(matches!(changed("{}", "[{}]"), Err(Error::InvalidPatch(_))));
        }
    }
}
