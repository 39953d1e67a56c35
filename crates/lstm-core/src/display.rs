//! Modules print as those of `burn::nn`, on one line: `Lstm {d_input: 2, d_hidden: 3, bias: true, params: 72}`.

use crate::cell::Cell;
use burn::module::Content;

/// Implements `ModuleDisplay` with the given content; `None` is Burn's default display.
macro_rules! impl_module_display {
    ($module:ident $(<$cell:ident: $bound:ident>)?, |$this:ident, $content:ident| $shown:expr) => {
        impl $(<$cell: $bound>)? burn::module::ModuleDisplay for $module $(<$cell>)? {
            fn custom_settings(&self) -> Option<burn::module::DisplaySettings> {
                burn::module::DisplaySettings::new()
                    .with_new_line_after_attribute(false)
                    .optional()
            }

            fn custom_content(
                &self,
                $content: burn::module::Content,
            ) -> Option<burn::module::Content> {
                let $this = self;
                $shown
            }
        }
    };
}

pub(crate) use impl_module_display;

/// What a cell prints; `None` if it doesn't say whether it has a bias.
pub(crate) fn of_cell(cell: &impl Cell, content: Content) -> Option<Content> {
    let content = content
        .add("d_input", &cell.d_input())
        .add("d_hidden", &cell.d_output())
        .add("bias", &cell.has_bias()?);
    Some(content)
}

/// What a layer of the cell prints, under `burn::nn`'s name for it, such as `BiLstm` with `kind` `"Bi{}"`.
pub(crate) fn of_layer<C: Cell>(cell: &C, kind: &str, content: Content) -> Option<Content> {
    let (first, others) = C::NAME.split_at(1);
    let name = kind.replace("{}", &(first.to_uppercase() + others));
    of_cell(cell, content.set_top_level_type(&name))
}
