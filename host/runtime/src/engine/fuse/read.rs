//! What a component imports and exports.

use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::Types;
use wasmparser::{Parser, Payload, ValidPayload, Validator, WasmFeatures};

use super::NotFusible;

/// A component's types, and what it imports and exports, by name.
pub(super) struct Read {
    pub(super) types: Types,
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
}

impl Read {
    /// Reads what a component imports and exports. Its code isn't validated.
    ///
    /// # Errors
    /// [`NotFusible::Imports`] for what is no component.
    pub(super) fn of(component: &[u8]) -> Result<Self, NotFusible> {
        let invalid = |error: wasmparser::BinaryReaderError| NotFusible::Imports(error.message().to_owned());
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        let (mut imports, mut exports) = (Vec::new(), Vec::new());
        let mut depth = 0_usize;
        let mut types = None;
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload.map_err(invalid)?;
            if let ValidPayload::End(ended) = validator.payload(&payload).map_err(invalid)? {
                types = Some(ended);
            }
            if let Payload::ModuleSection { .. } | Payload::ComponentSection { .. } = payload {
                depth += 1;
            } else if let Payload::End(_) = payload {
                depth = depth.saturating_sub(1);
            } else if let (0, Payload::ComponentImportSection(section)) = (depth, &payload) {
                let names = section.clone().into_iter().flatten().map(|import| import.name.name.to_owned());
                imports.extend(names);
            } else if let (0, Payload::ComponentExportSection(section)) = (depth, &payload) {
                let names = section.clone().into_iter().flatten().map(|export| export.name.name.to_owned());
                exports.extend(names);
            }
        }
        let types = types.ok_or_else(|| NotFusible::Imports("it has no end".to_owned()))?;
        Ok(Self { types, imports, exports })
    }

    /// Whether it exports a function of that name.
    pub(super) fn exports_function(&self, name: &str) -> bool {
        let item = self.types.component_item_for_export(name);
        item.is_some_and(|item| matches!(item.ty, ComponentEntityType::Func(_)))
    }

    /// The first import of a function from an interface that begins so.
    pub(super) fn imports_function_of(&self, prefixes: &[&str]) -> Option<&str> {
        let named = self.imports.iter().filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
        let mut with_function = named.filter(|name| match self.item(name) {
            Some(ComponentEntityType::Instance(id)) => {
                let mut exports = self.types[id].exports.values();
                exports.any(|export| matches!(export.ty, ComponentEntityType::Func(_)))
            }
            Some(_) | None => true,
        });
        with_function.next().map(String::as_str)
    }

    /// What an import is.
    pub(super) fn item(&self, name: &str) -> Option<ComponentEntityType> {
        self.types.component_item_for_import(name).map(|item| item.ty)
    }
}
