//! Admission of components: the check that bounds them before the compiler reads them.

/// Admits or refuses any bytes, without a panic.
pub fn run(data: &[u8]) {
    let _ = nebula_engine::admit(data);
}
