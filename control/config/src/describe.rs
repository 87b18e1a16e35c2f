//! The one description of a table or of a list of choices, from which the struct, its defaults, its reading, its writing
//! and its part of the page of reference are made.

use crate::error::nearest;
use crate::value::Bad;

/// Makes a struct, its defaults, its reading, its writing and its page of reference out of one description.
///
/// `KEY: TYPE = DEFAULT` and then, in this order, `in RANGE`, `required "MEANING"`, `later "WHY"` (read and checked, its
/// function comes later), `protects "WHY"` (the same, but `run` refuses to start with it). The table itself may have
/// `short "FORM" FUNCTION` (what a string in its place means), `then FUNCTION` (changes after reading), `later`,
/// `protects`.
macro_rules! table {
    (
        $(#[doc = $about:literal])*
        pub struct $name:ident
            $(, short $form:literal $short:path)? $(, then $then:path)?
            $(, later $table_later:literal)? $(, protects $table_protects:literal)?
        {
            $(
                $(#[doc = $doc:literal])*
                $field:ident $(as $key:literal)? : $type:ty = $default:expr
                    $(, in $range:expr)? $(, required $required:literal)?
                    $(, later $later:literal)? $(, protects $protects:literal)? ;
            )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[doc = $doc])* pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $( $field: $default, )* }
            }
        }

        impl $name {
            /// The keys that have to be given or are not as they would be anyway, as TOML.
            pub(crate) fn entries(&self) -> Vec<(&'static str, String)> {
                let plain = Self::default();
                let mut entries = Vec::new();
                $(
                    if $crate::describe::is_required!($($required)?) || self.$field != plain.$field {
                        entries.push(($crate::describe::key_name!($field $($key)?), $crate::value::text_of(&self.$field)));
                    }
                )*
                entries
            }

            /// Reads the keys that are given.
            pub(crate) fn read_keys(
                &mut self,
                table: &toml::de::DeTable<'_>,
                reader: &mut $crate::read::Reader<'_>,
            ) {
                let mut unknown = Vec::new();
                for (key, item) in table {
                    match key.get_ref().as_ref() {
                        $(
                            $crate::describe::key_name!($field $($key)?) => {
                                reader.field(key, item, &mut self.$field, |_value| {
                                    $crate::describe::outside!(_value $(, $range)?)
                                });
                            }
                        )*
                        _ => unknown.push(key),
                    }
                }
                if !unknown.is_empty() {
                    reader.unknown_keys(unknown, &[$($crate::describe::key_name!($field $($key)?)),*]);
                }
            }

            const LACK: Option<$crate::value::Lack> =
                $crate::describe::lack!($(later $table_later)? $(protects $table_protects)?);
        }

        impl $crate::value::Value for $name {
            fn form() -> String {
                String::from(concat!($($form, ", or ",)? "a table"))
            }

            fn read(
                item: &$crate::read::Item<'_>,
                reader: &mut $crate::read::Reader<'_>,
            ) -> Option<Self> {
                let afterwards = |value: Self| -> Self {
                    $( let value = $then(value); )?
                    value
                };
                $(
                    if let Some(text) = item.get_ref().as_str() {
                        return $short(text, item.span().start, reader).map(afterwards);
                    }
                )?
                let toml::de::DeValue::Table(table) = item.get_ref() else {
                    reader.wrong_type(item, Self::form());
                    return None;
                };
                let mut value = Self::default();
                value.read_keys(table, reader);
                $(
                    $crate::describe::missing!(
                        reader, table, $crate::describe::key_name!($field $($key)?) $(, $required)?
                    );
                )*
                Some(afterwards(value))
            }

            fn write(&self, out: &mut String) {
                out.push('{');
                for (index, (key, text)) in self.entries().iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { " " });
                    out.push_str(key);
                    out.push_str(" = ");
                    out.push_str(text);
                }
                out.push_str(" }");
            }

            fn visit(&self, path: &$crate::place::Path<'_>, visitor: &mut dyn $crate::value::Visitor) {
                if let Some(lack) = Self::LACK {
                    visitor.lack(path, lack);
                }
                $(
                    let below = path.key($crate::describe::key_name!($field $($key)?));
                    let lack: Option<$crate::value::Lack> =
                        $crate::describe::lack!($(later $later)? $(protects $protects)?);
                    if let Some(lack) = lack
                        && !$crate::value::Value::asks_nothing(&self.$field)
                    {
                        visitor.lack(&below, lack);
                    }
                    $crate::value::Value::visit(&self.$field, &below, visitor);
                )*
            }

            fn table() -> Option<$crate::value::TableDoc> {
                let plain = Self::default();
                Some($crate::value::TableDoc {
                    about: &[$($about),*],
                    lack: Self::LACK,
                    keys: vec![$(
                        $crate::value::KeyDoc {
                            name: $crate::describe::key_name!($field $($key)?),
                            form: <$type as $crate::value::Value>::form()
                                $( + &$crate::value::range_text(&($range)) )?,
                            choices: <$type as $crate::value::Value>::choices(),
                            default: $crate::value::text_of(&plain.$field),
                            required: $crate::describe::is_required!($($required)?),
                            about: &[$($doc),*],
                            lack: $crate::describe::lack!($(later $later)? $(protects $protects)?),
                            table: <$type as $crate::value::Value>::table(),
                        },
                    )*],
                })
            }
        }
    };
}

/// The key of a field: its name, or what follows `as`.
macro_rules! key_name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

/// Whether a key has to be given.
macro_rules! is_required {
    () => {
        false
    };
    ($meaning:literal) => {
        true
    };
}

/// Notes that a key is not given that has to be.
macro_rules! missing {
    ($reader:ident, $table:ident, $key:expr) => {};
    ($reader:ident, $table:ident, $key:expr, $meaning:literal) => {
        if !$table.contains_key($key) {
            $reader.missing($key, $meaning);
        }
    };
}

/// What is wrong with a value that has a range.
macro_rules! outside {
    ($value:ident) => {
        None
    };
    ($value:ident, $range:expr) => {
        $crate::value::Within::outside($value, &($range))
    };
}

/// `Some(Lack)` if there is a reason.
macro_rules! lack {
    () => {
        None
    };
    (later $why:literal) => {
        Some($crate::value::Lack { why: $why, protective: false })
    };
    (protects $why:literal) => {
        Some($crate::value::Lack { why: $why, protective: true })
    };
}

/// Makes a word of a list of choices; each may have a reason why it is not in effect.
macro_rules! choices {
    (
        $(#[doc = $about:literal])*
        pub enum $name:ident {
            $( $(#[doc = $doc:literal])* $variant:ident = $word:literal
                $(, later $later:literal)? $(, protects $protects:literal)? ;)*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[doc = $doc])* $variant, )*
        }

        $crate::describe::choices!(for $name {
            $( $(#[doc = $doc])* $variant = $word $(, later $later)? $(, protects $protects)?; )*
        });
    };
    (for $name:ty {
        $( $(#[doc = $doc:literal])* $variant:ident = $word:literal
            $(, later $later:literal)? $(, protects $protects:literal)? ; )*
    }) => {
        impl $crate::value::Word for $name {
            const FORM: &'static str = $crate::describe::joined!($($word)*);
            const CHOICES: &'static [$crate::value::Choice] = &[$(
                $crate::value::Choice {
                    word: $word,
                    about: &[$($doc),*],
                    lack: $crate::describe::lack!($(later $later)? $(protects $protects)?),
                },
            )*];

            fn parse(text: &str) -> Result<Self, $crate::value::Bad> {
                match text {
                    $( $word => Ok(<$name>::$variant), )*
                    _ => Err($crate::describe::unknown_choice(text, &[$($word),*])),
                }
            }

            fn word(&self) -> String {
                match self {
                    $( <$name>::$variant => $word, )*
                }
                .to_owned()
            }

            fn lack(&self) -> Option<$crate::value::Lack> {
                match self {
                    $( <$name>::$variant => $crate::describe::lack!($(later $later)? $(protects $protects)?), )*
                }
            }
        }
    };
}

/// `"a" | "b"`.
macro_rules! joined {
    ($first:literal $($rest:literal)*) => {
        concat!("\"", $first, "\"" $(, " | \"", $rest, "\"")*)
    };
}

pub(crate) use {choices, is_required, joined, key_name, lack, missing, outside, table};

/// None of the choices.
pub(crate) fn unknown_choice(text: &str, choices: &[&str]) -> Bad {
    Bad { why: "is no choice here".to_owned(), nearest: nearest(text, choices.iter().copied()) }
}
