//! Whether a text is JSON that every database here keeps: checked without building anything.

/// Deepest nesting of a JSON value in a row.
pub const DEPTH_MAX: usize = 128;

/// Longest number, and largest exponent: more than any use, less than where PostgreSQL's `numeric` ends.
const NUMBER_MAX: usize = 10_000;

/// Checks that the text is one JSON value, and one that PostgreSQL's `jsonb` takes: no U+0000, no lone surrogate, no
/// number of more than ten thousand digits; nested at most `depth_max` deep. The error says what is wrong and where.
pub fn check(text: &str, depth_max: usize) -> Result<(), String> {
    let mut scan = Scan {
        bytes: text.as_bytes(),
        at: 0,
    };
    match scan.document(depth_max) {
        Ok(()) => Ok(()),
        Err(what) => Err(format!("{what} at byte {}", scan.at)),
    }
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn document(&mut self, depth_max: usize) -> Result<(), String> {
        // What is open: true for an object. A list of its own instead of recursion, so that depth costs no stack.
        let mut open: Vec<bool> = Vec::new();
        loop {
            // A value is due here.
            self.space();
            let opened = match self.peek() {
                Some(b'{') => Some(true),
                Some(b'[') => Some(false),
                Some(b'"') => {
                    self.string()?;
                    None
                }
                Some(b'-' | b'0'..=b'9') => {
                    self.number()?;
                    None
                }
                Some(b't') => self.word("true").map(|()| None)?,
                Some(b'f') => self.word("false").map(|()| None)?,
                Some(b'n') => self.word("null").map(|()| None)?,
                Some(_) => return Err("expected a value".into()),
                None => return Err("the text ends where a value is due".into()),
            };
            if let Some(object) = opened {
                if open.len() == depth_max {
                    return Err(format!("nested more than {depth_max} deep"));
                }
                self.at += 1;
                self.space();
                if self.peek() == Some(if object { b'}' } else { b']' }) {
                    self.at += 1;
                } else {
                    open.push(object);
                    if object {
                        self.name()?;
                    }
                    continue;
                }
            }
            // A value has ended: go on in what is open around it.
            loop {
                self.space();
                let Some(&object) = open.last() else {
                    return if self.at == self.bytes.len() {
                        Ok(())
                    } else {
                        Err("text after the value".into())
                    };
                };
                match (self.peek(), object) {
                    (Some(b','), _) => {
                        self.at += 1;
                        if object {
                            self.space();
                            self.name()?;
                        }
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        open.pop();
                    }
                    (Some(_), true) => return Err("expected ',' or '}'".into()),
                    (Some(_), false) => return Err("expected ',' or ']'".into()),
                    (None, _) => return Err("the text ends within the value".into()),
                }
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err("expected a value".into());
        }
        self.at += word.len();
        Ok(())
    }

    /// A name in an object, with its colon.
    fn name(&mut self) -> Result<(), String> {
        if self.peek() != Some(b'"') {
            return Err("expected a name in quotes".into());
        }
        self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return Err("expected ':'".into());
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), String> {
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err("a text has no end".into()),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(0..=0x1f) => return Err("a control character in a text".into()),
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                        Some(b'u') => self.escape()?,
                        _ => return Err("an unknown escape in a text".into()),
                    }
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// `uXXXX`, or a pair of them.
    fn escape(&mut self) -> Result<(), String> {
        match self.unit()? {
            0 => Err("U+0000 in a text, which databases do not keep,".into()),
            0xd800..=0xdbff => {
                if self.peek() == Some(b'\\') && self.bytes.get(self.at + 1) == Some(&b'u') {
                    self.at += 1;
                    if matches!(self.unit()?, 0xdc00..=0xdfff) {
                        return Ok(());
                    }
                }
                Err("a lone surrogate in a text".into())
            }
            0xdc00..=0xdfff => Err("a lone surrogate in a text".into()),
            _ => Ok(()),
        }
    }

    fn unit(&mut self) -> Result<u32, String> {
        let digits = self.bytes.get(self.at + 1..self.at + 5);
        let unit = digits
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or("expected four hexadecimal digits after \\u")?;
        self.at += 5;
        Ok(unit)
    }

    fn number(&mut self) -> Result<(), String> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let mut exponent = 0;
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            let from = self.at;
            self.digits()?;
            for digit in &self.bytes[from..self.at] {
                exponent = (exponent * 10 + usize::from(digit - b'0')).min(NUMBER_MAX + 1);
            }
        }
        if self.at - start > NUMBER_MAX || exponent > NUMBER_MAX {
            return Err(format!("a number of more than {NUMBER_MAX} digits"));
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), String> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            Err("expected a digit".into())
        } else {
            Ok(())
        }
    }
}
