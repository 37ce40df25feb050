//! `echo`: returns its input.
//!
//! The function does no work, so the cost of a call is the cost of the platform.

/// Returns the input unchanged.
#[nebula_sdk::function]
pub fn handle(input: Vec<u8>) -> Vec<u8> {
    input
}

#[cfg(test)]
mod tests {
    use super::handle;

    #[test]
    fn the_input_is_returned() {
        assert_eq!(handle(vec![0, 255]), [0, 255]);
    }
}
