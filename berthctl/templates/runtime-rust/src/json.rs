//! As much JSON as specifications are written in.

#[derive(Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

const DEEPEST: usize = 64;

impl Json {
    /// None for what is not well-formed, has text with NUL or is nested deeper than 64.
    pub fn parse(text: &str) -> Option<Json> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.skip_space();
        (reader.at == text.len()).then_some(value)
    }

    /// A member of an object; Null where there is none, also of what is no object.
    pub fn get(&self, name: &str) -> &Json {
        match self {
            Json::Object(members) => members.iter().find(|(key, _)| key == name).map_or(&Json::Null, |(_, value)| value),
            _ => &Json::Null,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Json::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The members of an array; nothing of anything else.
    pub fn items(&self) -> &[Json] {
        match self {
            Json::Array(items) => items,
            _ => &[],
        }
    }

    /// The texts of an array; None when something else is in it.
    pub fn texts(&self) -> Option<Vec<String>> {
        self.items().iter().map(|item| item.text().map(str::to_string)).collect()
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.rest().starts_with(word);
        if there {
            self.at += word.len();
        }
        there
    }

    fn skip(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let size = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.at += size;
        &rest[..size]
    }

    fn skip_space(&mut self) {
        self.skip(|c| matches!(c, ' ' | '\t' | '\r' | '\n'));
    }

    /// A sign between values, with what space is before it.
    fn sign(&mut self, sign: &str) -> bool {
        self.skip_space();
        self.take(sign)
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > DEEPEST {
            return None;
        }
        self.skip_space();
        match self.rest().chars().next()? {
            '"' => self.string().map(Json::Text),
            '[' => self.members("]", |reader| reader.value(depth + 1)).map(Json::Array),
            '{' => self
                .members("}", |reader| {
                    reader.skip_space();
                    let name = reader.string()?;
                    let value = if reader.sign(":") { reader.value(depth + 1)? } else { return None };
                    Some((name, value))
                })
                .map(Json::Object),
            't' => self.take("true").then_some(Json::Bool(true)),
            'f' => self.take("false").then_some(Json::Bool(false)),
            'n' => self.take("null").then_some(Json::Null),
            _ => self.number(),
        }
    }

    fn members<T>(&mut self, end: &str, one: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut out = Vec::new();
        self.at += 1;
        if self.sign(end) {
            return Some(out);
        }
        loop {
            out.push(one(self)?);
            if self.sign(end) {
                return Some(out);
            }
            if !self.sign(",") {
                return None;
            }
        }
    }

    fn digits(&mut self) -> Option<()> {
        (!self.skip(|c| c.is_ascii_digit()).is_empty()).then_some(())
    }

    fn number(&mut self) -> Option<Json> {
        let begin = self.at;
        self.take("-");
        if !self.take("0") {
            self.digits()?;
        }
        if self.take(".") {
            self.digits()?;
        }
        if self.take("e") || self.take("E") {
            let _ = self.take("+") || self.take("-");
            self.digits()?;
        }
        self.text[begin..self.at].parse().ok().map(Json::Number)
    }

    fn string(&mut self) -> Option<String> {
        let mut out = String::new();
        if !self.take("\"") {
            return None;
        }
        loop {
            let c = self.rest().chars().next()?;
            self.at += c.len_utf8();
            match c {
                '"' => return Some(out),
                '\\' => out.push(self.escaped()?),
                c if c < ' ' => return None,
                c => out.push(c),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        match c {
            '"' | '\\' | '/' => Some(c),
            'b' => Some('\x08'),
            'f' => Some('\x0c'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'u' => {
                let unit = self.unit()?;
                if !(0xd800..0xdc00).contains(&unit) {
                    return char::from_u32(unit).filter(|&c| c != '\0');
                }
                // The first half of a pair.
                let low = if self.take("\\u") { self.unit()?.checked_sub(0xdc00)? } else { return None };
                (low < 0x400).then(|| char::from_u32(0x10000 + ((unit - 0xd800) << 10) + low))?
            }
            _ => None,
        }
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_well_formed() {
        let value = Json::parse(" {\"a\": [1.5e3, -0, null, true, {}, []], \"b\": \"x\\n\\u00e4\\ud83d\\ude00\"} ").unwrap();
        assert_eq!(value.get("a").items()[0].number(), Some(1500.0));
        assert_eq!(value.get("a").items().len(), 6);
        assert_eq!(value.get("b").text(), Some("x\nä😀"));
        assert_eq!(value.get("c").get("d"), &Json::Null);
    }

    #[test]
    fn refuses_what_is_not() {
        let deep = "[".repeat(100) + &"]".repeat(100);
        for text in [
            "", "{", "[1,]", "{\"a\":1,}", "{\"a\" 1}", "\"a", "\"\\x\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\u0000\"", "\"\\u12", "01",
            "1.", "-", "nul", "1 2", "[[", "\"\n\"", "{1:2}", "]", &deep,
        ] {
            assert_eq!(Json::parse(text), None, "{text}");
        }
        assert!(Json::parse(&deep[50..150]).is_some());
    }
}
