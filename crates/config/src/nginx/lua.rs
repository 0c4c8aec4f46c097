//! Where a block of Lua ends. `content_by_lua_block { ... }` of the Lua module holds Lua, whose strings and comments
//! may hold braces; nginx's own words end at the opening brace.

/// The offset of the closing brace of a block whose code begins at `start`; none if the file ends before.
pub(super) fn end_of_block(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    let mut depth = 1_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            b'"' | b'\'' => at = end_of_string(bytes, at)?,
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at = match long_bracket(bytes, at + 2) {
                    Some(level) => end_of_long(bytes, at + 2, level)?,
                    None => at + memchr::memchr(b'\n', bytes.get(at..)?)?,
                }
            }
            b'[' => {
                if let Some(level) = long_bracket(bytes, at) {
                    at = end_of_long(bytes, at, level)?;
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The closing quote of the string that begins at `at`. A Lua string ends with its line unless a backslash stands
/// before the line's end; one that does not is no Lua, and ends there.
fn end_of_string(bytes: &[u8], at: usize) -> Option<usize> {
    let quote = bytes.get(at)?;
    let mut at = at + 1;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 1,
            b'\n' => return Some(at),
            byte if byte == quote => return Some(at),
            _ => {}
        }
        at += 1;
    }
}

/// The number of equals signs if a long bracket `[==[` opens here.
fn long_bracket(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?.strip_prefix(b"[")?;
    let level = rest.iter().take_while(|byte| **byte == b'=').count();
    (rest.get(level) == Some(&b'[')).then_some(level)
}

/// The last byte of the bracket `]==]` that closes the one which opens at `at`.
fn end_of_long(bytes: &[u8], at: usize, level: usize) -> Option<usize> {
    let mut at = at + level + 2;
    loop {
        at += memchr::memchr(b']', bytes.get(at..)?)?;
        let rest = bytes.get(at + 1..)?;
        let signs = rest.iter().take(level).take_while(|byte| **byte == b'=').count();
        if signs == level && rest.get(level) == Some(&b']') {
            return Some(at + level + 1);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(code: &str) -> Option<&str> {
        end_of_block(code.as_bytes(), 0).map(|end| &code[end..])
    }

    #[test]
    fn braces_in_strings_and_comments_are_not_counted() {
        assert_eq!(rest("ngx.say('}') } x"), Some("} x"));
        assert_eq!(rest("a = {b = {}} } x"), Some("} x"));
        assert_eq!(rest("-- }\n} x"), Some("} x"));
        assert_eq!(rest("--[[ }\n} ]] } x"), Some("} x"));
        assert_eq!(rest("--[==[ ]] } ]=] ]==] } x"), Some("} x"));
        assert_eq!(rest("s = [=[ } ]] ]=] } x"), Some("} x"));
        assert_eq!(rest("t[a[1]] = \"\\\"}\" } x"), Some("} x"));
    }

    #[test]
    fn code_without_an_end_has_none() {
        for code in ["", "{}", "'}", "--}", "--[[ }", "[==[ } ]=]", "\"\\"] {
            assert_eq!(rest(code), None, "{code}");
        }
    }
}
