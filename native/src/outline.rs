//! The top of a JSON text, of which nothing is judged: the twin of `headgate.wire.outline`.

/// Walks over the keys of a text's first object, and of objects in it at some keys.
///
/// Of a text that is cut it gives what more bytes would not change.
pub struct Outline<'a> {
    text: &'a [u8],
    /// Keys whose objects are walked through, too.
    within: &'a [Vec<u8>],
    at: usize,
    depth: usize,
    /// Within an object at one of these keys.
    inside: bool,
    key: Option<&'a [u8]>,
    over: bool,
    /// The walk came to the object's end.
    pub closed: bool,
}

/// A key, and a string as it is written, without its quotes; None for a list or an object.
pub type Entry<'a> = (&'a [u8], Option<&'a [u8]>);

impl<'a> Outline<'a> {
    pub fn new(text: &'a [u8], within: &'a [Vec<u8>]) -> Outline<'a> {
        let start = text.iter().position(|byte| *byte == b'{');
        Outline {
            text,
            within,
            at: start.unwrap_or(text.len()),
            depth: 0,
            inside: false,
            key: None,
            over: false,
            closed: false,
        }
    }

    fn shown(&self) -> bool {
        self.depth == 1 || self.depth == 2 && self.inside
    }
}

impl<'a> Iterator for Outline<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let text = self.text;
        while !self.over && self.at < text.len() {
            match text[self.at] {
                b'"' => {
                    let start = self.at + 1;
                    let end = string_end(text, start)?;
                    let string = &text[start..end];
                    let blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
                    let behind = end + 1;
                    let behind = behind + text[behind..].iter().take_while(blank).count();
                    // What is behind it tells whether it is a key.
                    let next = *text.get(behind)?;
                    self.at = behind;
                    if next == b':' {
                        self.key = Some(string);
                        self.at += 1;
                    } else if let (Some(key), true) = (self.key.take(), self.shown()) {
                        return Some((key, Some(string)));
                    }
                }
                byte @ (b'{' | b'[') => {
                    self.at += 1;
                    let (key, shown) = (self.key.take(), self.shown());
                    self.depth += 1;
                    if self.depth == 2 {
                        let named = |key: &[u8]| self.within.iter().any(|each| each == key);
                        self.inside = byte == b'{' && key.is_some_and(named);
                    }
                    if let (Some(key), true) = (key, shown) {
                        return Some((key, None));
                    }
                }
                b'}' | b']' => {
                    self.at += 1;
                    self.depth -= 1;
                    self.key = None;
                    if self.depth == 0 {
                        (self.closed, self.over) = (true, true);
                    }
                }
                _ => self.at += 1,
            }
        }
        None
    }
}

fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    while at < text.len() {
        match text[at] {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::Outline;

    fn walk(text: &str) -> (Vec<String>, bool) {
        let within = [b"in".to_vec()];
        let mut outline = Outline::new(text.as_bytes(), &within);
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let entries = outline
            .by_ref()
            .map(|(key, value)| format!("{}={}", shown(key), value.map_or("..".to_owned(), shown)))
            .collect();
        (entries, outline.closed)
    }

    #[test]
    fn keys_with_strings_and_containers_are_given() {
        let text = r#"x {"a": "b", "n": 5, "l": ["c"], "in": {"d": "e", "f": {"g": "h"}}, "o": {"p": "q"}} {"r": "s"}"#;
        let (entries, closed) = walk(text);
        assert_eq!(entries, ["a=b", "l=..", "in=..", "d=e", "f=..", "o=.."]);
        assert!(closed);
    }

    #[test]
    fn a_text_that_is_cut_says_what_is_certain() {
        assert_eq!(walk(r#"{"a":"b""#), (vec![], false));
        assert_eq!(walk(r#"{"a":"b","#), (vec!["a=b".to_owned()], false));
        assert_eq!(walk("no object"), (vec![], false));
        assert_eq!(walk("\"{\\"), (vec![], false));
    }
}
