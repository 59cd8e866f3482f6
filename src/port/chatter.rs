//! How much is shown of what a board says for people: enough to see what it does, and never so much
//! that a chatty one fills the journal.

/// Most lines of one port that are shown in [`WINDOW_US`].
pub const LINES_MAX: u64 = 20;
/// How long lines are counted, from the first one on, in microseconds.
pub const WINDOW_US: i64 = 10_000_000;
/// Most characters of a line that are shown.
const LINE_CHARS_MAX: usize = 200;

/// Counts the lines of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chatter {
    /// When the present window ends; `None` before the first line, and once it has ended.
    ends_us: Option<i64>,
    /// Lines in it, those that are not shown among them.
    lines: u64,
}

impl Chatter {
    /// A line is said. Whether it is to be shown; ask [`Chatter::ended`] first.
    pub fn admits(&mut self, now_us: i64) -> bool {
        self.ends_us.get_or_insert(now_us.saturating_add(WINDOW_US));
        self.lines += 1;
        self.lines <= LINES_MAX
    }

    /// When there is something to say of lines that were not shown.
    #[must_use]
    pub fn wake_at_us(&self) -> Option<i64> {
        self.ends_us.filter(|_| self.lines > LINES_MAX)
    }

    /// How many lines of a window that has ended were not shown, if there were any.
    pub fn ended(&mut self, now_us: i64) -> Option<u64> {
        if self.ends_us.is_none_or(|at_us| now_us < at_us) {
            return None;
        }
        let more = self.lines.saturating_sub(LINES_MAX);
        *self = Self::default();
        (more > 0).then_some(more)
    }
}

/// The lines of `text` as they are shown: one for each of its own, none for empty ones. A control
/// character in them could pass for a line of ours.
pub fn lines(text: &str) -> impl Iterator<Item = String> {
    let shown = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    let lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    lines.map(move |line| line.chars().take(LINE_CHARS_MAX).map(shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_are_shown_and_the_others_counted() {
        let mut chatter = Chatter::default();
        for now_us in 0..50 {
            assert_eq!(chatter.ended(now_us), None);
            assert_eq!(chatter.admits(now_us), now_us < 20, "{now_us}");
        }
        assert_eq!(chatter.wake_at_us(), Some(WINDOW_US));
        assert_eq!(chatter.ended(WINDOW_US - 1), None);
        assert_eq!(chatter.ended(WINDOW_US), Some(30));
        assert_eq!((chatter.ended(WINDOW_US), chatter.wake_at_us()), (None, None));
        assert!(chatter.admits(WINDOW_US), "the next window");
    }

    #[test]
    fn a_quiet_board_wakes_nobody() {
        let mut chatter = Chatter::default();
        for second in 0..100 {
            assert_eq!(chatter.ended(second * 1_000_000), None);
            assert!(chatter.admits(second * 1_000_000));
            assert_eq!(chatter.wake_at_us(), None);
        }
    }

    #[test]
    fn text_is_shown_by_lines_and_forges_none() {
        for (text, expected) in [
            ("boot ok\r\n", &["boot ok"][..]),
            ("a\n\n b\tc \r", &["a", "b c"]),
            ("\n", &[]),
            ("x\x1b[2Jy", &["x\u{fffd}[2Jy"]),
            ("21 °C", &["21 °C"]),
        ] {
            assert_eq!(lines(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
        assert_eq!(lines(&"é".repeat(300)).next().unwrap().chars().count(), LINE_CHARS_MAX);
    }
}
