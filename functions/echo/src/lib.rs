//! `echo`: the bytes that came in.
//!
//! Does nothing, so that what a call costs is what the platform costs.

/// The input, as it is.
#[nebula_sdk::function]
pub fn handle(input: Vec<u8>) -> Vec<u8> {
    input
}

#[cfg(test)]
mod tests {
    use super::handle;

    #[test]
    fn answers_what_it_was_sent() {
        assert_eq!(handle(vec![0, 255]), [0, 255]);
    }
}
