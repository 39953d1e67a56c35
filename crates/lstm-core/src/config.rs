//! Configs that also read files written by earlier versions and by `burn::nn`.

/// A struct, of the config of a cell where it has a parameter, with what Burn's `derive(Config)` generates, except for deserialisation: options, which come after `..`,
/// may be missing in a file and are then at their default, since the file may be older than the option, or from
/// `burn::nn`, whose one `initializer` sets both of ours.
macro_rules! config {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident $(<$cell:ident: $bound:ident>)? {
            $($(#[$required_doc:meta])* pub $required:ident: $required_type:ty,)*
            ..
            $($(#[$option_doc:meta])* pub $option:ident: $option_type:ty = $default:expr,)*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, serde::Serialize)]
        #[non_exhaustive]
        pub struct $name $(<$cell: $bound>)? {
            $($(#[$required_doc])* pub $required: $required_type,)*
            $(
                $(#[$option_doc])*
                #[doc = concat!("\n\nDefault: `", stringify!($default), "`.")]
                pub $option: $option_type,
            )*
        }

        pastey::paste! {
            #[allow(clippy::useless_conversion)] // Only activations are converted.
            impl $(<$cell: $bound>)? $name $(<$cell>)? {
                /// The config with all other options at their defaults.
                #[allow(clippy::too_many_arguments)]
                pub fn new($($required: $required_type),*) -> Self {
                    Self { $($required,)* $($option: $default,)* }
                }

                $(
                    $(#[$option_doc])*
                    #[doc = concat!("\n\nDefault: `", stringify!($default), "`.")]
                    pub fn [<with_ $option>](
                        mut self,
                        $option: $crate::config::config!(@argument $option $option_type),
                    ) -> Self {
                        self.$option = $option.into();
                        self
                    }
                )*
            }
        }

        $($crate::config::config!(@initializers $option $name);)*

        impl<'de $(, $cell: $bound)?> serde::Deserialize<'de> for $name $(<$cell>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[serde(default)]
                #[allow(dead_code)] // Not every config has initialisers.
                struct Read $(<$cell>)? {
                    $($required: Option<$required_type>,)*
                    $($option: $option_type,)*
                    initializer: Option<burn::nn::Initializer>,
                }

                impl $(<$cell>)? Default for Read $(<$cell>)? {
                    fn default() -> Self {
                        Self {
                            $($required: None,)*
                            $($option: $default,)*
                            initializer: None,
                        }
                    }
                }

                let read = Read $(::<$cell>)? ::deserialize(deserializer)?;
                let missing = <D::Error as serde::de::Error>::missing_field;
                Ok(Self {
                    $($required: read.$required.ok_or_else(|| missing(stringify!($required)))?,)*
                    $($option: $crate::config::config!(@read $option read),)*
                })
            }
        }

        impl $(<$cell: $bound>)? core::fmt::Display for $name $(<$cell>)? {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&burn::config::config_to_json(self))
            }
        }

        impl $(<$cell: $bound>)? burn::config::Config for $name $(<$cell>)? {}
    };
    (@initializers recurrent_initializer $name:ident) => {
        impl $name {
            /// Uses one initialiser for the input and the recurrent weights, as `burn::nn` does.
            ///
            /// Unlike in `burn::nn`, the biases are not changed.
            pub fn with_initializer(self, initializer: burn::nn::Initializer) -> Self {
                Self {
                    input_initializer: initializer.clone(),
                    recurrent_initializer: initializer,
                    ..self
                }
            }
        }
    };
    (@initializers $option:ident $name:ident) => {};
    // An activation is given as ours or as Burn's.
    (@argument gate_activation $type:ty) => { impl Into<$type> };
    (@argument cell_activation $type:ty) => { impl Into<$type> };
    (@argument hidden_activation $type:ty) => { impl Into<$type> };
    (@argument $option:ident $type:ty) => { $type };
    (@read input_initializer $read:ident) => {
        $read.initializer.clone().unwrap_or($read.input_initializer)
    };
    (@read recurrent_initializer $read:ident) => {
        $read.initializer.clone().unwrap_or($read.recurrent_initializer)
    };
    (@read $option:ident $read:ident) => {
        $read.$option
    };
}

pub(crate) use config;
