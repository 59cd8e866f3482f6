//! The picture in the terminal: a few lines that are drawn again and again, or plain lines where
//! there is no terminal.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Stdout, Write};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Gauge, Row, Sparkline, Table};
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};

use super::ledger::Ledger;
use crate::status::Status;

/// Columns of the backlog's history: two per second.
const HISTORY: usize = 120;
/// Between two points of the history.
const HISTORY_STEP: Duration = Duration::from_millis(500);
/// Between two plain lines.
const LINE_STEP: Duration = Duration::from_secs(1);

/// Which part of the story is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Boards talk, the cloud listens.
    Online,
    /// The link to the cloud is cut.
    Cut {
        /// For how long already.
        since: Duration,
    },
    /// The link is back; the backlog drains.
    Draining,
    /// Boards are silent; the last readings arrive.
    Finishing,
}

impl Act {
    fn words(self) -> String {
        match self {
            Self::Online => "cloud link up".into(),
            Self::Cut { since } => format!("cloud link CUT for {:.1} s", since.as_secs_f64()),
            Self::Draining => "cloud link back".into(),
            Self::Finishing => "boards silent, the rest arrives".into(),
        }
    }

    fn color(self) -> Color {
        match self {
            Self::Online => Color::Green,
            Self::Cut { .. } => Color::Red,
            Self::Draining => Color::Yellow,
            Self::Finishing => Color::Cyan,
        }
    }
}

/// One moment of the story.
#[derive(Debug)]
pub struct Moment<'a> {
    /// Since the start.
    pub elapsed: Duration,
    /// How long it is to take.
    pub total: Duration,
    /// Which part is on.
    pub act: Act,
    /// The gateway's own account.
    pub status: &'a Status,
    /// The audience's account.
    pub ledger: &'a Ledger,
}

/// Where the picture goes.
pub struct View {
    terminal: Option<Terminal<CrosstermBackend<Stdout>>>,
    backlog: VecDeque<u64>,
    peak: u64,
    next_point: Duration,
    next_line: Duration,
    last: Option<(Duration, u64, u64)>,
    rates: (f64, f64),
}

impl View {
    /// A picture of `devices` devices, or lines where the output is no terminal that can show one.
    #[must_use]
    pub fn new(devices: u16) -> Self {
        let options = TerminalOptions { viewport: Viewport::Inline(devices + 8) };
        let open = || Terminal::with_options(CrosstermBackend::new(io::stdout()), options);
        // One that does not say where its cursor is gets lines too.
        let terminal = io::stdout().is_terminal().then(open).and_then(Result::ok);
        Self {
            terminal,
            backlog: VecDeque::new(),
            peak: 0,
            next_point: Duration::ZERO,
            next_line: Duration::ZERO,
            last: None,
            rates: (0.0, 0.0),
        }
    }

    /// Shows a moment.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn show(&mut self, moment: &Moment<'_>) -> io::Result<()> {
        self.remember(moment);
        let (backlog, peak, rates) = (&mut self.backlog, self.peak, self.rates);
        match &mut self.terminal {
            Some(terminal) => {
                let history = backlog.make_contiguous();
                terminal.draw(|frame| draw(frame, moment, history, peak, rates)).map(|_| ())
            }
            None if moment.elapsed >= self.next_line => {
                self.next_line = moment.elapsed + LINE_STEP;
                writeln!(io::stdout(), "{}", line(moment, rates))
            }
            None => Ok(()),
        }
    }

    /// Leaves the picture where it is and gives the terminal back.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn end(&mut self) -> io::Result<()> {
        if let Some(terminal) = &mut self.terminal {
            let last_row = terminal.get_frame().area().bottom().saturating_sub(1);
            terminal.set_cursor_position((0, last_row))?;
            terminal.show_cursor()?;
            writeln!(io::stdout())?;
        }
        Ok(())
    }

    /// The most that ever waited.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak
    }

    fn remember(&mut self, moment: &Moment<'_>) {
        let waiting = moment.status.queue.readings;
        self.peak = self.peak.max(waiting);
        if moment.elapsed < self.next_point {
            return;
        }
        self.next_point = moment.elapsed + HISTORY_STEP;
        self.backlog.push_back(waiting);
        if self.backlog.len() > HISTORY {
            self.backlog.pop_front();
        }
        let now = (moment.elapsed, moment.ledger.produced(), moment.ledger.arrived());
        if let Some(before) = self.last.replace(now) {
            let seconds = (now.0 - before.0).as_secs_f64();
            self.rates = (per_second(now.1 - before.1, seconds), per_second(now.2 - before.2, seconds));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(n: u64, seconds: f64) -> f64 {
    n as f64 / seconds.max(0.001)
}

fn line(moment: &Moment<'_>, rates: (f64, f64)) -> String {
    let queue = &moment.status.queue;
    format!(
        "{:5.1} s  {:<32} produced {:>6}  in the cloud {:>6}  backlog {:>5} (in memory only {:>3})  boards {:>6.1}/s  cloud {:>7.1}/s",
        moment.elapsed.as_secs_f64(),
        moment.act.words(),
        moment.ledger.produced(),
        moment.ledger.arrived(),
        queue.readings,
        queue.volatile,
        rates.0,
        rates.1,
    )
}

fn draw(frame: &mut Frame<'_>, moment: &Moment<'_>, history: &[u64], peak: u64, rates: (f64, f64)) {
    let devices = u16::try_from(moment.ledger.accounts().count()).unwrap_or(u16::MAX);
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(devices + 1),
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
    ]);
    let [head, progress, table, graph, queue, flow, _] = rows.areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let title = Line::from(vec![
        Span::styled("Serialgate ", bold),
        Span::styled(moment.act.words(), bold.fg(moment.act.color())),
    ]);
    frame.render_widget(title, head);
    let ratio = (moment.elapsed.as_secs_f64() / moment.total.as_secs_f64()).clamp(0.0, 1.0);
    let label = format!("{:.0} of {:.0} s", moment.elapsed.as_secs_f64(), moment.total.as_secs_f64());
    let gauge = Gauge::default().gauge_style(Style::new().fg(moment.act.color())).ratio(ratio).label(label);
    frame.render_widget(gauge, progress);
    draw_devices(frame, table, moment.ledger);
    draw_backlog(frame, graph, moment, history, peak);
    let q = &moment.status.queue;
    let account = format!(
        "account   accepted {} = delivered {} + dropped {} + waiting {}",
        q.accepted,
        q.delivered,
        q.dropped.total(),
        q.readings
    );
    frame.render_widget(Line::from(account), queue);
    let flowing = format!(
        "flow      boards {:.1}/s   cloud {:.1}/s   disk: {} commits, {} KiB written",
        rates.0,
        rates.1,
        q.commits,
        q.flash_bytes / 1024
    );
    frame.render_widget(Line::from(flowing), flow);
}

fn draw_devices(frame: &mut Frame<'_>, area: Rect, ledger: &Ledger) {
    let widths = [18, 12, 14, 14, 10].map(Constraint::Length);
    let header = ["device", "produced", "acknowledged", "in the cloud", "missing"];
    let rows = ledger.accounts().map(|(device, account)| {
        let missing = account.missing();
        let style = if missing == 0 { Style::new().fg(Color::Green) } else { Style::new().fg(Color::Yellow) };
        Row::new([
            Line::from(device.to_owned()),
            Line::from(account.produced().to_string()),
            Line::from(account.acknowledged.map_or_else(|| "-".into(), |n| n.to_string())),
            Line::from(account.arrived().to_string()),
            Line::from(missing.to_string()).style(style),
        ])
    });
    let header = Row::new(header).style(Style::new().fg(Color::DarkGray));
    frame.render_widget(Table::new(rows, widths).header(header), area);
}

fn draw_backlog(frame: &mut Frame<'_>, area: Rect, moment: &Moment<'_>, history: &[u64], peak: u64) {
    let [words, graph] = Layout::horizontal([Constraint::Length(30), Constraint::Min(10)]).areas(area);
    let queue = &moment.status.queue;
    let text = vec![
        Line::from(format!("backlog   {}", queue.readings)),
        Line::from(format!("  in memory only {}", queue.volatile)),
        Line::from(format!("  highest {peak}")),
    ];
    frame.render_widget(ratatui::text::Text::from(text), words);
    let spark =
        Sparkline::default().data(history).max(peak.max(1)).style(Style::new().fg(moment.act.color()));
    frame.render_widget(spark, graph);
}
