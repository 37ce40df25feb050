//! Nebula end to end: the real binary, real guests, real sockets.
//!
//! A module for each part of the contract. Each test has a server of its own.

/// Insists on a test named after a guest, in the module that this is used in.
macro_rules! is_tested {
    ($guest:ident) => {
        const _: fn() = self::$guest;
    };
}

mod faults;
