//! What values of a file are read into.

use std::fmt::Display;
use std::time::Duration;

use tcp_adapter::IpCidr;

use super::error::ScenarioError;
use super::section::{Context, unit_error};
use super::tree::{Node, Value};
use super::units::{Picoseconds, Probability, Rate, Share, Size, Unit};

/// Something that a value of a file is read into.
pub(crate) trait Field: Sized {
    /// It is written as a list: only a list of lists is a sweep.
    const LIST: bool = false;
    /// It may be swept.
    const SWEPT: bool = true;

    /// Reads it; a table is completed with its defaults.
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError>;
}

/// How a value is written that is not there.
pub(crate) const NONE: &str = "none";

fn read_unit<T: Unit>(cx: &Context, node: &Node, key: &str) -> Result<T, ScenarioError> {
    let text = match &node.value {
        Value::Text(text) => text.clone(),
        Value::Integer(number) if *number >= 0 => number.to_string(),
        _ => return Err(cx.invalid(node, key, T::WHAT)),
    };
    T::parse(&text).map_err(|error| unit_error(cx, node, key, error))
}

macro_rules! unit_fields {
    ($($name:ty),*) => {$(
        impl Field for $name {
            fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
                read_unit(cx, node, key)
            }
        }
    )*};
}

unit_fields!(Duration, Rate, Size, Probability, Share, Picoseconds);

impl Field for u64 {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        match node.value {
            Value::Integer(number) if number >= 0 => Ok(number.unsigned_abs()),
            _ => Err(cx.invalid(node, key, "a whole number")),
        }
    }
}

impl Field for bool {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        match node.value {
            Value::Bool(flag) => Ok(flag),
            _ => Err(cx.invalid(node, key, "true or false")),
        }
    }
}

/// Text for people or a name: it is never a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl Field for Text {
    const SWEPT: bool = false;

    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        match &node.value {
            Value::Text(text) => Ok(Self(text.clone())),
            _ => Err(cx.invalid(node, key, "text in quotes")),
        }
    }
}

/// A name that may be swept over, such as that of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) String);

impl Field for Name {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        Text::read(cx, node, key).map(|Text(text)| Self(text))
    }
}

impl Field for IpCidr {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        let parsed = match &node.value {
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        parsed.ok_or_else(|| {
            cx.invalid(node, key, "an address with its prefix length, such as 10.0.1.2/24 or fd00::2/64")
        })
    }
}

/// `"none"` is `None`.
impl<T: Field> Field for Option<T> {
    const LIST: bool = T::LIST;
    const SWEPT: bool = T::SWEPT;

    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        match &node.value {
            Value::Text(text) if text == NONE => Ok(None),
            _ => T::read(cx, node, key).map(Some),
        }
    }
}

impl<T: Field> Field for Vec<T> {
    const LIST: bool = true;

    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        match &mut node.value {
            Value::List(items) => {
                let items = items.iter_mut().enumerate();
                items.map(|(index, item)| T::read(cx, item, &format!("{key}.{index}"))).collect()
            }
            _ => Err(cx.invalid(node, key, "a list")),
        }
    }
}

/// Reads one of the words of a list.
pub(crate) fn read_word<T: Copy + Display>(
    cx: &Context,
    node: &Node,
    key: &str,
    all: &[T],
) -> Result<T, ScenarioError> {
    let found = match &node.value {
        Value::Text(text) => all.iter().find(|word| word.to_string() == *text).copied(),
        _ => None,
    };
    found.ok_or_else(|| {
        let words: Vec<String> = all.iter().map(ToString::to_string).collect();
        cx.invalid(node, key, format!("one of {}", words.join(", ")))
    })
}

/// Defines an enum whose variants are written as words.
macro_rules! words {
    ($(#[$about:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// All of them, for listings.
            $vis const ALL: &'static [Self] = &[$(Self::$variant),+];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        impl $crate::scenario::field::Field for $name {
            fn read(
                cx: &mut $crate::scenario::section::Context,
                node: &mut $crate::scenario::tree::Node,
                key: &str,
            ) -> Result<Self, $crate::scenario::ScenarioError> {
                $crate::scenario::field::read_word(cx, node, key, Self::ALL)
            }
        }
    };
}
pub(crate) use words;

/// The word that says which keys a table has (`model = "random"`), which cannot be swept over on its own.
pub(crate) fn tag<T: Copy + Display>(
    cx: &Context,
    node: &Node,
    path: &str,
    key: &str,
    all: &[T],
    default: Option<T>,
) -> Result<T, ScenarioError> {
    let words = || all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let Value::Table(table) = &node.value else {
        return Err(cx.invalid(node, path, format!("a table with the key {key} = one of {}", words())));
    };
    match (table.get(key), default) {
        (Some(word), _) => read_word(cx, word, &format!("{path}.{key}"), all),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(ScenarioError::MissingKey {
            at: cx.at(&node.place),
            section: if table.block { format!("[{path}]") } else { path.to_owned() },
            key: key.to_owned(),
            expected: format!("one of {}", words()),
        }),
    }
}
