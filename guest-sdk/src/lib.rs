//! The SDK for pure functions on Nebula.
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
//! | typed, with types of your own | [`macro@function`] on a module | the module's structs and enums, too |
//! | raw | [`macro@raw`] on a function | [`Payload`]: bytes with a media type |
//! | WIT first | [`generate!`] | the types of your own WIT |
//!
//! [`macro@initialize`] on a second function runs it once, when the component is deployed. Every
//! call starts with the statics that it filled. The attribute works with every form.
//!
//! The attributes export a function only on Wasm targets. Natively it stays an ordinary function,
//! which `cargo test` tests.
//!
//! Invariants:
//! * The exported function only converts the arguments, calls your function and converts its
//!   result.
//! * The heap begins inside the initial memory (feature `heap`). A call that needs less than a
//!   megabyte never grows its memory, which would be the most expensive request of a guest to the
//!   host.

mod convert;
#[cfg(all(target_family = "wasm", feature = "heap"))]
mod heap;
mod payload;

pub use nebula_sdk_macros::{function, initialize, raw};

pub use self::payload::{Error, Payload};

/// Generates bindings for a WIT world of your own, with the options of `wit_bindgen::generate!`.
///
/// The world exports `handle`. Implement the generated trait `Guest`, and pass the type that
/// implements it to the generated macro `export!`.
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

/// Items that the output of the macros refers to. They aren't part of the API.
#[doc(hidden)]
pub mod __private {
    pub use wit_bindgen::{generate, rt};

    pub use crate::convert::{Lift, Lower};
    pub use crate::payload::RawSignature;
}
