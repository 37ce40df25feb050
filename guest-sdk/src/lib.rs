//! Write pure functions for Nebula.
//!
//! One attribute turns a Rust function into a WebAssembly component that Nebula runs:
//!
//! ```
//! /// Adds two numbers.
//! #[nebula_sdk::function]
//! pub fn handle(a: i64, b: i64) -> Result<i64, String> {
//!     a.checked_add(b).ok_or_else(|| "the sum doesn't fit 64 bits".to_owned())
//! }
//! # fn main() {}
//! ```
//!
//! | form | attribute | input and output |
//! |---|---|---|
//! | typed | [`macro@function`] on a function | any supported types |
//! | typed, with types of your own | [`macro@function`] on a module | its structs and enums too |
//! | raw | [`macro@raw`] on a function | [`Payload`]: bytes with a media type |
//! | WIT first | [`generate!`] | what your own WIT says |
//!
//! Beside any of them [`macro@initialize`] on a function has it run once, when the component is deployed: calls
//! begin with what it left in statics.
//!
//! The attributes export something only where the target is Wasm. Natively the function is what it was:
//! `cargo test` tests it.
//!
//! Invariants:
//! * What is exported does nothing but convert arguments, call your function, convert its answer.
//! * The heap begins inside the initial memory (feature `heap`): a call that needs less than a
//!   megabyte never grows its memory, which is the most costly thing a guest can ask of the host.

mod convert;
#[cfg(all(target_family = "wasm", feature = "heap"))]
mod heap;
mod payload;

pub use nebula_sdk_macros::{function, initialize, raw};

pub use self::payload::{Error, Payload};

/// Binds a WIT world of your own, with the options of `wit_bindgen::generate!`.
///
/// The world exports `handle`; its trait is `Guest`, and `export!` makes a component of whatever
/// implements it.
///
/// ```
/// nebula_sdk::generate!({
///     // Or `path: "wit"`, for a directory of WIT files beside `Cargo.toml`.
///     inline: "
///         package local:distance;
///
///         world function {
///             record point { x: f64, y: f64 }
///             export handle: func(a: point, b: point) -> f64;
///         }
///     ",
///     world: "function",
/// });
///
/// struct Function;
///
/// impl Guest for Function {
///     fn handle(a: Point, b: Point) -> f64 {
///         (a.x - b.x).hypot(a.y - b.y)
///     }
/// }
///
/// #[cfg(target_family = "wasm")]
/// export!(Function);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! generate {
    ({ $($options:tt)* }) => {
        $crate::__private::generate!({
            runtime_path: "::nebula_sdk::__private::rt",
            $($options)*
        });
    };
}

/// What the macros' output refers to. Not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use wit_bindgen::{generate, rt};

    pub use crate::convert::{Lift, Lower};
}
