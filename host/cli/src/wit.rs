//! A component's world as WIT.

use anyhow::Context;
use wit_component::{DecodedWasm, WitPrinter};

/// Returns the types and exports of a component in WIT, with the author's names. Imports are left
/// out: they depend on the toolchain, not on what the function does.
pub(crate) fn exports(component: &[u8]) -> anyhow::Result<String> {
    let DecodedWasm::Component(resolve, world) =
        wit_component::decode(component).context("cannot read the component's types")?
    else {
        anyhow::bail!("it is a WIT package, not a component");
    };
    let package = resolve.worlds[world].package.context("the component's world has no package")?;
    let mut printer = WitPrinter::default();
    printer.print(&resolve, package, &[]).context("cannot write the component's types")?;
    let printed = printer.output.to_string();
    let inside = printed.lines().skip_while(|line| !line.starts_with("world ")).skip(1);
    let lines: Vec<&str> = inside
        .take_while(|line| *line != "}")
        .filter(|line| !line.starts_with("  import "))
        .map(|line| line.strip_prefix("  ").unwrap_or(line))
        .collect();
    Ok(lines.join("\n").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::exports;

    #[test]
    fn types_and_exports_are_written_with_their_names() {
        let component = wat::parse_str(
            r#"(component
                (type $point (record (field "x" f64) (field "y" f64)))
                (import "point" (type $named (eq $point)))
                (core module $m
                    (memory (export "memory") 1)
                    (func (export "handle") (param f64 f64) (result f64) local.get 0))
                (core instance $i (instantiate $m))
                (func $handle (param "at" $named) (result f64) (canon lift (core func $i "handle")))
                (export "handle" (func $handle)))"#,
        )
        .unwrap();
        let wit = exports(&component).unwrap();
        assert_eq!(wit, "record point {\n  x: f64,\n  y: f64,\n}\n\nexport handle: func(at: point) -> f64;");
    }

    #[test]
    fn other_files_are_an_error() {
        assert!(exports(b"text").is_err());
    }
}
