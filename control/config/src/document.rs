//! From text to tables. A text with many routes is read piece by piece: parsing all of it at once would fill memory with
//! tables that are each looked at once.

use crate::error::Kind;
use crate::objects::{Rule, Rules};
use crate::place::Segment;
use crate::read::Reader;
use crate::root::Config;
use crate::route::Route;
use crate::value::Value;
use core::ops::Range;
use std::collections::HashSet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads the whole text; `None` if it is no TOML.
pub(crate) fn read(text: &str, reader: &mut Reader<'_>) -> Option<Config> {
    if let Some(config) = pieces(text).and_then(|pieces| read_pieces(text, &pieces, reader)) {
        return Some(config);
    }
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let offset = error.span().map_or(0, |span| span.start);
        reader.error(offset, Kind::Syntax(error.message().trim().replace('\n', ", ")));
    }
    if !syntax.is_empty() {
        return None;
    }
    Config::read(&value(document), reader)
}

fn value(document: Spanned<DeTable<'_>>) -> Spanned<DeValue<'_>> {
    let span = document.span();
    Spanned::new(span, DeValue::Table(document.into_inner()))
}

/// Where a long text can be cut: a piece ends before a line that begins a route, so it is whole TOML, if the text is.
/// The first piece ends before the first route. `None` if it is not worth it, or not certain: in a text of several lines
/// such a line may be anything.
fn pieces(text: &str) -> Option<Vec<Range<usize>>> {
    if text.len() < 2 * PIECE || text.contains("\"\"\"") || text.contains("'''") {
        return None;
    }
    let mut pieces = Vec::with_capacity(text.len() / PIECE + 2);
    let mut start = 0;
    let mut from = 0;
    while let Some(found) = text[from..].find(ROUTE) {
        let end = from + found + 1;
        pieces.push(start..end);
        start = end;
        from = (start + PIECE).min(text.len());
        while !text.is_char_boundary(from) {
            from -= 1;
        }
    }
    pieces.push(start..text.len());
    (pieces.len() > 1).then_some(pieces)
}

/// Reads all pieces, if nothing in them says that they must be read as one: a mistake in the syntax (which is then
/// reported as it is found in the whole), a list of routes in another form, a table in two of them.
fn read_pieces(text: &str, pieces: &[Range<usize>], reader: &mut Reader<'_>) -> Option<Config> {
    let mark = reader.mark();
    let mut whole = Vec::new();
    let mut keys = HashSet::new();
    let mut routes = Rules::<Route>::default();
    let mut names = HashSet::new();
    let list = reader.open(Segment::Key(Route::KIND), pieces[1].start);
    for (number, piece) in pieces.iter().enumerate() {
        let Ok(document) = DeTable::parse(&text[piece.clone()]) else {
            reader.reset(mark);
            return None;
        };
        let mut table = document.into_inner();
        let mut known = true;
        if let Some((_, list)) = table.remove_entry(Route::KIND) {
            match list.get_ref() {
                DeValue::Array(entries) if number > 0 => {
                    reader.set_base(piece.start);
                    routes.read_more(entries, reader, &mut names);
                }
                _ => known = false,
            }
        }
        known &= table.keys().all(|key| keys.insert(key.get_ref().to_string()));
        if !known {
            reader.reset(mark);
            return None;
        }
        if !table.is_empty() {
            whole.push((piece.start, table));
        }
    }
    reader.set_base(0);
    reader.close(list);
    let mut config = Config::default();
    for (start, table) in whole {
        reader.set_base(start);
        config.read_keys(&table, reader);
    }
    reader.set_base(0);
    config.route = routes;
    Some(config)
}

const ROUTE: &str = "\n[[route]]";
/// Small enough to stay in the cache with all that is made of it.
const PIECE: usize = 64 * 1024;
