//! Modules print as those of `burn::nn`: `Lstm {d_input: 2, d_hidden: 3, bias: true, params: 72}`.

/// Implements `ModuleDisplay` for a module that is a cell, or that holds one at the given field path.
macro_rules! impl_module_display {
    ($module:ty $(, $field:ident)*) => {
        impl burn::module::ModuleDisplay for $module {
            fn custom_settings(&self) -> Option<burn::module::DisplaySettings> {
                burn::module::DisplaySettings::new()
                    .with_new_line_after_attribute(false)
                    .optional()
            }

            fn custom_content(
                &self,
                content: burn::module::Content,
            ) -> Option<burn::module::Content> {
                let cell = &self$(.$field)*;
                content
                    .add("d_input", &cell.d_input())
                    .add("d_hidden", &cell.d_hidden())
                    .add("bias", &cell.bias.is_some())
                    .optional()
            }
        }
    };
}

pub(crate) use impl_module_display;
