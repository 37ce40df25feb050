//! Conversions between the types of the generated bindings and the types of the user's function.
//!
//! The two differ only in the user's own structs and enums, for which the macro implements [`Lift`]
//! and [`Lower`]. The implementations here extend them to lists, options, results and tuples. For
//! every other type the conversion is the identity and compiles to nothing.

/// A type that is converted from the bindings' type `Wit`.
pub trait Lift<Wit>: Sized {
    /// Converts an argument.
    fn lift(wit: Wit) -> Self;
}

/// A type that is converted to the bindings' type `Wit`.
pub trait Lower<Wit> {
    /// Converts a result.
    fn lower(self) -> Wit;
}

macro_rules! identity {
    ($($ty:ty)*) => {$(
        impl Lift<$ty> for $ty {
            fn lift(wit: $ty) -> Self {
                wit
            }
        }

        impl Lower<$ty> for $ty {
            fn lower(self) -> $ty {
                self
            }
        }
    )*};
}

identity!(() bool u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 char String);

impl<W, T: Lift<W>> Lift<Vec<W>> for Vec<T> {
    fn lift(wit: Vec<W>) -> Self {
        wit.into_iter().map(T::lift).collect()
    }
}

impl<W, T: Lower<W>> Lower<Vec<W>> for Vec<T> {
    fn lower(self) -> Vec<W> {
        self.into_iter().map(T::lower).collect()
    }
}

impl<W, T: Lift<W>> Lift<Option<W>> for Option<T> {
    fn lift(wit: Option<W>) -> Self {
        wit.map(T::lift)
    }
}

impl<W, T: Lower<W>> Lower<Option<W>> for Option<T> {
    fn lower(self) -> Option<W> {
        self.map(T::lower)
    }
}

impl<W, X, T: Lift<W>, E: Lift<X>> Lift<Result<W, X>> for Result<T, E> {
    fn lift(wit: Result<W, X>) -> Self {
        wit.map(T::lift).map_err(E::lift)
    }
}

impl<W, X, T: Lower<W>, E: Lower<X>> Lower<Result<W, X>> for Result<T, E> {
    fn lower(self) -> Result<W, X> {
        self.map(T::lower).map_err(E::lower)
    }
}

macro_rules! tuples {
    ($($t:ident $w:ident),+) => {
        #[expect(non_snake_case, reason = "each variable is named after its type")]
        impl<$($w, $t: Lift<$w>),+> Lift<($($w,)+)> for ($($t,)+) {
            fn lift(($($w,)+): ($($w,)+)) -> Self {
                ($($t::lift($w),)+)
            }
        }

        #[expect(non_snake_case, reason = "each variable is named after its type")]
        impl<$($w, $t: Lower<$w>),+> Lower<($($w,)+)> for ($($t,)+) {
            fn lower(self) -> ($($w,)+) {
                let ($($t,)+) = self;
                ($($t.lower(),)+)
            }
        }
    };
}

tuples!(A WA);
tuples!(A WA, B WB);
tuples!(A WA, B WB, C WC);
tuples!(A WA, B WB, C WC, D WD);
tuples!(A WA, B WB, C WC, D WD, E WE);
tuples!(A WA, B WB, C WC, D WD, E WE, F WF);
tuples!(A WA, B WB, C WC, D WD, E WE, F WF, G WG);
tuples!(A WA, B WB, C WC, D WD, E WE, F WF, G WG, H WH);
