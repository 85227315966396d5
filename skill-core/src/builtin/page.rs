//! What a page of HTML says: its title, its text, its links.

use std::cell::RefCell;

use html5ever::{
    tendril::StrTendril,
    tokenizer::{
        BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer,
        states::{Rawtext, Rcdata, ScriptData},
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// The most links that are kept.
const LINKS: usize = 2_000;
/// Elements that hold no text of the page.
const SILENT: &[&str] =
    &["script", "style", "noscript", "template", "svg", "head", "iframe", "object", "select"];
/// Elements that begin a line.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "br",
    "dd",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "tr",
    "ul",
];

/// A link of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Link {
    /// Where it leads.
    pub(super) url: String,
    /// What it says.
    pub(super) text: String,
}

/// A page as it is read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) title: Option<String>,
    pub(super) text: String,
    pub(super) links: Vec<Link>,
}

/// Reads a page that lies at `at`.
pub(super) fn read(html: &str, at: &Url) -> Page {
    let sink = Sink(RefCell::new(Reading::new(at)));
    let tokenizer = Tokenizer::new(sink, Default::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(html));
    _ = tokenizer.feed(&input);
    tokenizer.end();
    tokenizer.sink.0.into_inner().page()
}

/// What was read so far.
struct Reading {
    base: Url,
    title: Option<String>,
    is_title: bool,
    text: String,
    links: Vec<Link>,
    /// Where the link that is open leads.
    open: Option<(String, String)>,
    /// Which silent element is open, and how often.
    silent: Option<(String, u32)>,
}

struct Sink(RefCell<Reading>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut reading = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) => return reading.tag(&tag),
            Token::CharacterTokens(text) => reading.say(&text),
            Token::DoctypeToken(_)
            | Token::CommentToken(_)
            | Token::NullCharacterToken
            | Token::EOFToken
            | Token::ParseError(_) => {}
        }
        TokenSinkResult::Continue
    }
}

impl Reading {
    fn new(base: &Url) -> Self {
        Self {
            base: base.clone(),
            title: None,
            is_title: false,
            text: String::new(),
            links: Vec::new(),
            open: None,
            silent: None,
        }
    }

    fn tag(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name = &*tag.name;
        let begins = tag.kind == TagKind::StartTag;
        if name == "title" && self.silent.as_ref().is_none_or(|(open, _)| open == "head") {
            self.is_title = begins && self.title.is_none();
        }
        self.be_silent(name, begins && !tag.self_closing, tag.kind == TagKind::EndTag);
        match name {
            "a" => self.link(tag, begins),
            "base" if begins => {
                let href = attribute(tag, "href").and_then(|href| self.base.join(&href).ok());
                self.base = href.unwrap_or_else(|| self.base.clone());
            }
            _ if BLOCKS.contains(&name) => self.text.push('\n'),
            "td" | "th" => self.text.push(' '),
            _ => {}
        }
        // What stands in these is no markup.
        match name {
            "script" if begins => TokenSinkResult::RawData(ScriptData),
            "style" | "iframe" | "noframes" | "xmp" if begins => TokenSinkResult::RawData(Rawtext),
            "title" | "textarea" if begins => TokenSinkResult::RawData(Rcdata),
            _ => TokenSinkResult::Continue,
        }
    }

    fn be_silent(&mut self, name: &str, begins: bool, ends: bool) {
        // A page may leave out where its head ends.
        if name == "body" && self.silent.as_ref().is_some_and(|(open, _)| open == "head") {
            self.silent = None;
        }
        match &mut self.silent {
            None if begins && SILENT.contains(&name) => self.silent = Some((name.to_owned(), 1)),
            Some((open, depth)) if open == name && begins => *depth += 1,
            Some((open, depth)) if open == name && ends => {
                *depth -= 1;
                if *depth == 0 {
                    self.silent = None;
                }
            }
            None | Some(_) => {}
        }
    }

    fn link(&mut self, tag: &Tag, begins: bool) {
        if let Some((url, text)) = self.open.take()
            && self.links.len() < LINKS
        {
            self.links.push(Link { url, text: tidy(&text) });
        }
        if begins {
            let url = attribute(tag, "href").and_then(|href| self.base.join(&href).ok());
            let url = url.filter(|url| matches!(url.scheme(), "http" | "https" | "mailto"));
            self.open = url.map(|url| (url.into(), String::new()));
        }
    }

    fn say(&mut self, text: &str) {
        if self.is_title {
            self.title.get_or_insert_default().push_str(text);
            return;
        }
        if self.silent.is_some() {
            return;
        }
        self.text.push_str(text);
        if let Some((_, said)) = &mut self.open {
            said.push_str(text);
        }
    }

    fn page(self) -> Page {
        let lines = self.text.lines().map(tidy).filter(|line| !line.is_empty());
        let text = lines.collect::<Vec<_>>().join("\n");
        let title = self.title.map(|title| tidy(&title)).filter(|title| !title.is_empty());
        Page { title, text, links: self.links }
    }
}

fn attribute(tag: &Tag, name: &str) -> Option<String> {
    let found = tag.attrs.iter().find(|attribute| &*attribute.name.local == name);
    found.map(|attribute| attribute.value.trim().to_owned())
}

/// With one space wherever there are some.
fn tidy(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(html: &str) -> Page {
        read(html, &"https://example.com/a/b".parse().unwrap())
    }

    #[test]
    fn a_page_has_title_text_and_links() {
        let read = page(
            "<!doctype html><html><head><title> One &amp;\n two </title><style>p { x: '<p>' }</style>\
             <script>if (a < b) document.write('<p>no</p>')</script></head><body><h1>Head</h1>\
             <p>Some <b>bold</b> text<p>More<ul><li><a href='../c?x=1&amp;y'>A <i>link</i></a>\
             <li><a href='javascript:alert(1)'>no link</a></ul><noscript>off</noscript></body></html>",
        );
        assert_eq!(read.title.as_deref(), Some("One & two"));
        assert_eq!(read.text, "Head\nSome bold text\nMore\nA link\nno link");
        let link = Link { url: "https://example.com/c?x=1&y".into(), text: "A link".into() };
        assert_eq!(read.links, [link]);
    }

    #[test]
    fn links_go_by_the_base_of_the_page() {
        let read = page("<base href='https://other.example/x/'><a href='y'>y</a>");
        assert_eq!(read.links[0].url, "https://other.example/x/y");
    }

    #[test]
    fn what_is_no_page_is_read_too() {
        for html in
            ["", "plain", "<", "<a", "<a href", "</title>", "<head>x", "<svg><svg></svg>", "\0"]
        {
            page(html);
        }
        assert_eq!(page("plain & simple").text, "plain & simple");
    }
}
