//! What a request says of its session, by digests: the twin of `headgate.wire.sessions`.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

/// Names with the sources that they are, ordered by name.
type Named = Vec<(String, Arc<str>)>;

/// What may name the session of a request.
#[derive(Debug, Default)]
pub struct Sources {
    headers: Named,
    cookies: Named,
    body: Named,
}

fn named(kind: &str, names: Vec<String>) -> Named {
    let mut found: Named = names
        .into_iter()
        .map(|name| {
            let source = Arc::from(format!("{kind}:{name}"));
            (name, source)
        })
        .collect();
    found.sort_unstable();
    found
}

fn place(among: &Named, name: &[u8]) -> Option<usize> {
    among
        .binary_search_by(|(known, _)| known.as_bytes().cmp(name))
        .ok()
}

/// A digest as `headgate.wire.digest` writes it.
fn written(digest: u128) -> String {
    format!("{digest:032x}")
}

/// Names and values that are not empty, in order.
fn cookies(header: &str) -> impl Iterator<Item = (&str, &str)> {
    let blank = |letter: char| matches!(letter, ' ' | '\t');
    header.split(';').filter_map(move |each| {
        let (name, value) = each.split_once('=')?;
        let value = value.trim_matches(blank);
        (!value.is_empty()).then_some((name.trim_matches(blank), value))
    })
}

impl Sources {
    pub fn new(headers: Vec<String>, cookies: Vec<String>, body: Vec<String>) -> Sources {
        Sources {
            headers: named("header", headers),
            cookies: named("cookie", cookies),
            body: named("body", body),
        }
    }

    /// What is there of them in headers (texts) and in fields of the body (with digests), in the order of the sources as
    /// texts.
    pub fn told<'a>(
        &self,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        body: &[(Arc<str>, u128)],
    ) -> Vec<(Arc<str>, String)> {
        let mut found: Vec<(Arc<str>, String)> = Vec::new();
        for (name, value) in headers {
            if let Some(index) = place(&self.headers, name)
                && !value.is_empty()
            {
                found.push((self.headers[index].1.clone(), written(xxh3_128(value))));
            }
            if !self.cookies.is_empty() && name == b"cookie" {
                self.of_cookies(std::str::from_utf8(value).unwrap_or_default(), &mut found);
            }
        }
        for (name, digest) in body {
            if let Some(index) = place(&self.body, name.as_bytes()) {
                found.push((self.body[index].1.clone(), written(*digest)));
            }
        }
        found.sort_unstable();
        found
    }

    /// The first one of a name counts.
    fn of_cookies(&self, header: &str, found: &mut Vec<(Arc<str>, String)>) {
        let mut met = vec![false; self.cookies.len()];
        for (name, value) in cookies(header) {
            if let Some(index) = place(&self.cookies, name.as_bytes())
                && !std::mem::replace(&mut met[index], true)
            {
                let digest = written(xxh3_128(value.as_bytes()));
                found.push((self.cookies[index].1.clone(), digest));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(|each| (*each).to_owned()).collect()
    }

    fn bytes<'a>(
        headers: &'a [(&str, &str)],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    }

    #[test]
    fn only_what_is_wanted_is_told() {
        let sources = Sources::new(
            texts(&["x-session-id", "x-a"]),
            texts(&["sid"]),
            texts(&["user"]),
        );
        let headers = [
            ("x-session-id", "s"),
            ("x-a", ""),
            ("x-b", "b"),
            ("cookie", "a=b; sid=;  sid = one ;sid=two; sid"),
        ];
        let body = [
            (Arc::from("user"), xxh3_128(b"u")),
            (Arc::from("prompt_cache_key"), 1),
        ];
        let told = sources.told(bytes(&headers), &body);
        let expected = [
            ("body:user", "u"),
            ("cookie:sid", "one"),
            ("header:x-session-id", "s"),
        ];
        let expected: Vec<(Arc<str>, String)> = expected
            .iter()
            .map(|(source, value)| (Arc::from(*source), written(xxh3_128(value.as_bytes()))))
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn nothing_is_wanted() {
        let told = Sources::default().told(bytes(&[("x-session-id", "s")]), &[]);
        assert!(told.is_empty());
    }
}
