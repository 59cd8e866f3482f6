//! Cuts a byte stream into lines.
//!
//! LF ends a line, a CR before it is dropped, NUL bytes anywhere are dropped (lines float to zero
//! while a board resets), empty lines are passed over. A line longer than [`LINE_MAX`] is reported
//! once, when it grows too long, and skipped up to its end in constant memory: an endless line is
//! seen at once and costs nothing.

use super::Reason;

/// Longest line, in bytes, without its end.
pub const LINE_MAX: usize = 16 * 1024;

/// The framer. Feed it with [`Lines::next`].
#[derive(Debug, Default)]
pub struct Lines {
    /// The bytes of the present line so far.
    line: Vec<u8>,
    state: State,
    /// A line end was seen, so that the next line is known to begin at its beginning.
    aligned: bool,
}

#[derive(Debug, Default)]
enum State {
    /// Collecting a line.
    #[default]
    Filling,
    /// The line was handed out and goes when the next one is asked for.
    Given,
    /// In a line that was too long.
    Skipping,
}

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its bytes without its end, or why there are none.
    pub content: Result<&'a [u8], Reason>,
    /// The first line since the framer began: perhaps only the end of one.
    pub torn: bool,
}

impl Lines {
    /// The next line of `input`, which is moved past what was taken. `None`: all of it was taken
    /// and the line has not ended yet.
    pub fn next<'a>(&'a mut self, input: &mut &[u8]) -> Option<Line<'a>> {
        if matches!(self.state, State::Given) {
            self.line.clear();
            self.state = State::Filling;
        }
        while !input.is_empty() {
            let end = input.iter().position(|&byte| byte == b'\n');
            let (piece, rest) = input.split_at(end.unwrap_or(input.len()));
            *input = rest.get(1..).unwrap_or_default();
            if self.take(piece) {
                // The next line begins after this one's end, which may come much later.
                let torn = !std::mem::replace(&mut self.aligned, true);
                if end.is_some() {
                    self.state = State::Filling;
                }
                return Some(Line { content: Err(Reason::TooLong), torn });
            }
            if end.is_some() && self.end() {
                let torn = !std::mem::replace(&mut self.aligned, true);
                return Some(Line { content: Ok(&self.line), torn });
            }
        }
        None
    }

    /// Adds a piece of a line. True when that made the line too long.
    fn take(&mut self, piece: &[u8]) -> bool {
        if matches!(self.state, State::Skipping) {
            return false;
        }
        // Only a line of nothing but NUL bytes can be longer than the limit and still fit.
        let room = LINE_MAX - self.line.len();
        self.line.extend(piece.iter().copied().filter(|&byte| byte != 0).take(room + 1));
        let too_long = self.line.len() > LINE_MAX;
        if too_long {
            self.line.clear();
            self.state = State::Skipping;
        }
        too_long
    }

    /// Ends the present line. True when it is one to hand out.
    fn end(&mut self) -> bool {
        if matches!(self.state, State::Skipping) {
            self.state = State::Filling;
            return false;
        }
        while self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        if self.line.is_empty() {
            self.aligned = true;
            return false;
        }
        self.state = State::Given;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All lines of `chunks`: their text, or `!` for one that was too long; torn ones with a `~`.
    fn cut<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for mut chunk in chunks {
            while let Some(line) = lines.next(&mut chunk) {
                let text = line.content.map_or("!".into(), String::from_utf8_lossy);
                found.push(format!("{}{text}", if line.torn { "~" } else { "" }));
            }
            assert!(lines.line.capacity() <= 4 * LINE_MAX, "memory is bounded");
        }
        found
    }

    #[test]
    fn lines_are_cut_at_lf_and_stripped() {
        for (input, expected) in [
            (&b"a\nb\n"[..], &["~a", "b"][..]),
            (b"a\r\nb\r\r\nc", &["~a", "b"]),
            (b"\n\r\na\n\n", &["a"]),
            (b"\0a\0b\0\n\0\n", &["~ab"]),
            (b"no end", &[]),
        ] {
            assert_eq!(cut([input]), expected, "{input:?}");
        }
    }

    #[test]
    fn a_line_of_a_megabyte_is_reported_once_and_skipped() {
        let long = vec![b'x'; 1_000_000];
        let chunks = [&b"a\n"[..]].into_iter().chain(long.chunks(4095)).chain([&b"tail\nb\n"[..]]);
        assert_eq!(cut(chunks), ["~a", "!", "b"]);
    }

    #[test]
    fn the_limit_is_exact() {
        let fits = [vec![b'x'; LINE_MAX], b"\n".to_vec()].concat();
        assert_eq!(cut([&fits[..]])[0].len(), LINE_MAX + 1);
        let over = [vec![b'x'; LINE_MAX + 1], b"\nb\n".to_vec()].concat();
        assert_eq!(cut([&over[..]]), ["~!", "b"]);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_reads_end(
            text in "[a-c\0\r\n]{0,64}",
            cuts in prop::collection::vec(0usize..64, 0..8),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            prop_assert_eq!(cut(pieces), cut([bytes]));
        }
    }
}
