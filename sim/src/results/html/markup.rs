//! Writing markup that is well formed whatever the names are.

/// A piece of HTML or SVG under construction. All text and all attributes are escaped here, and nowhere else.
#[derive(Debug, Default)]
pub(super) struct Markup {
    text: String,
    open: Vec<&'static str>,
}

/// Attributes of an element.
pub(super) type Attributes<'a> = &'a [(&'a str, &'a str)];

impl Markup {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Starts an element; what follows is inside it until [`close`](Self::close).
    pub(super) fn open(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.tag(tag, attributes);
        self.text.push('>');
        self.open.push(tag);
    }

    /// Ends the element that was opened last.
    pub(super) fn close(&mut self) {
        if let Some(tag) = self.open.pop() {
            self.text.extend(["</", tag, ">"]);
            if matches!(tag, "tr" | "p" | "div" | "section" | "table" | "svg" | "g" | "details" | "figure" | "li") {
                self.text.push('\n');
            }
        }
    }

    /// An element without content.
    pub(super) fn empty(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.tag(tag, attributes);
        self.text.push_str("/>");
    }

    /// An element with nothing but text.
    pub(super) fn element(&mut self, tag: &'static str, attributes: Attributes<'_>, text: &str) {
        self.open(tag, attributes);
        self.text(text);
        self.close();
    }

    /// Text.
    pub(super) fn text(&mut self, text: &str) {
        escape(text, &mut self.text);
    }

    /// Markup that is complete in itself.
    pub(super) fn append(&mut self, other: Self) {
        self.text.push_str(&other.finish());
    }

    /// A constant of this program, as it is.
    pub(super) fn raw(&mut self, text: &'static str) {
        self.text.push_str(text);
    }

    /// The markup, with everything closed that is still open.
    pub(super) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.text
    }

    fn tag(&mut self, tag: &str, attributes: Attributes<'_>) {
        self.text.extend(["<", tag]);
        for (name, value) in attributes {
            self.text.extend([" ", name, "=\""]);
            escape(value, &mut self.text);
            self.text.push('"');
        }
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not allowed in a page, not even escaped.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out() {
        let mut markup = Markup::new();
        markup.open("p", &[("title", "a\"><script>")]);
        markup.text("<b> & 'c'\u{0}");
        markup.empty("br", &[]);
        assert_eq!(
            markup.finish(),
            "<p title=\"a&quot;&gt;&lt;script&gt;\">&lt;b&gt; &amp; &#39;c&#39;\u{fffd}<br/></p>\n"
        );
    }
}
