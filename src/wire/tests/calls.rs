//! Commands on their way to a board, and every one of them answered.

use serialgate_wire::Call as Wire;

use super::*;
use crate::call::{Answer, Call, Failure, Given};
use crate::wire::calls::{PATIENCE_US, WAITING_MAX};

/// A board with a channel that can be set, and what it does with CALLs.
struct Board {
    rig: Rig,
    /// The last call's number and its result: repeated, not done again.
    last: Option<(u16, u8)>,
    /// What it did: command and arguments.
    done: Vec<(u8, Vec<u8>)>,
    listens: bool,
    answers: Vec<(u64, Answer)>,
}

impl Board {
    fn new() -> Self {
        Self::with(HELLO, None)
    }

    /// A board that remembers the call `last`.
    fn with(hello: Hello<'_>, last: Option<(u16, u8)>) -> Self {
        let mut rig = Rig::open();
        rig.hear(Message::Hello(hello));
        for (channel, name, fmt, writable) in [(0, "temp", 0x3E, false), (1, "relay", 0x10, true)] {
            let (class, unit, more) = (Class::State, "", &[][..]);
            rig.hear(Message::Describe(Describe { seq: 0, channel, fmt, class, writable, unit, name, more }));
        }
        Self { rig, last, done: Vec::new(), listens: true, answers: Vec::new() }
    }

    fn call(&mut self, number: u64, call: Call) {
        self.rig.link.call(number, call, self.rig.now());
        let actions = self.rig.actions();
        self.play(actions);
    }

    fn wait(&mut self, us: i64) {
        let actions = self.rig.wait(us);
        self.play(actions);
    }

    /// Does what the link sends, and answers, until both are quiet.
    fn play(&mut self, mut actions: Vec<Action>) {
        while !actions.is_empty() {
            let mut next = Vec::new();
            for action in actions {
                match action {
                    Action::Answer(number, answer) => self.answers.push((number, answer)),
                    Action::Call { seq, command, arguments } if self.listens => {
                        let status = self.react(seq, command, &arguments);
                        let mut room = [0; 8];
                        let mut items = ItemWriter::new(&mut room);
                        items.push(1, Value::decimal(Int::U8(9), Exponent::ZERO)).unwrap();
                        let result = CallResult { seq, status, items: items.finish() };
                        next.extend(self.rig.hear(Message::Result(result)));
                    }
                    _ => {}
                }
            }
            actions = next;
        }
    }

    fn react(&mut self, seq: u16, command: u8, arguments: &[u8]) -> u8 {
        if let Some((last, status)) = self.last
            && last == seq
        {
            return status;
        }
        let status = match command {
            Wire::SET | Wire::REBOOT | Wire::INTERVAL | 16 => 0,
            17 => 77,
            _ => 1,
        };
        if !(command == Wire::SET && arguments.is_empty()) {
            self.done.push((command, arguments.to_vec()));
        }
        self.last = Some((seq, status));
        status
    }
}

fn relay(on: bool) -> Call {
    Call::Set(vec![("relay".into(), reading::Value::Bool(on))])
}

fn own(command: u8) -> Call {
    Call::Own { command, arguments: [1, 2].into() }
}

fn nine() -> reading::Value {
    reading::Value::Decimal { mantissa: 9, exponent: 0 }
}

#[test]
fn each_command_reaches_the_board_and_is_answered() {
    let mut board = Board::new();
    board.call(1, relay(true));
    board.call(2, own(16));
    board.call(3, own(17));
    board.call(4, Call::Interval { ms: 500 });
    assert_eq!(
        board.done,
        [(0, vec![1, 0x11]), (16, vec![1, 2]), (17, vec![1, 2]), (2, vec![0xF4, 1, 0, 0])]
    );
    let answer = || Given::Answer(vec![nine()]);
    assert_eq!(
        board.answers,
        [
            (1, Answer::Done(Given::Values(vec![("relay".into(), nine())]))),
            (2, Answer::Done(answer())),
            (3, Answer::Declined { code: 77, given: answer() }),
            (4, Answer::Done(answer())),
        ]
    );
}

#[test]
fn a_number_that_the_board_remembers_from_before_is_not_given_to_another_command() {
    // Whatever the board did last for an earlier run of the gateway: the command is done, and its own
    // result comes back.
    for last in 0..8 {
        let mut board = Board::with(HELLO, Some((last, 99)));
        board.call(1, relay(true));
        assert_eq!(board.done, [(0, vec![1, 0x11])], "it remembers {last}");
        assert!(matches!(board.answers[..], [(1, Answer::Done(_))]), "{:?}", board.answers);
    }
}

#[test]
fn a_lost_call_is_said_again_and_done_once() {
    let mut board = Board::new();
    board.listens = false;
    board.call(1, relay(true));
    board.wait(S);
    assert_eq!((board.answers.len(), board.done.len()), (0, 0));
    board.listens = true;
    board.wait(S);
    assert_eq!((board.answers.len(), board.done.len()), (1, 1));
    // The result alone is lost: the board does nothing the second time.
    board.rig.link.call(2, relay(false), board.rig.now());
    for action in board.rig.actions() {
        if let Action::Call { seq, command, arguments } = action {
            board.react(seq, command, &arguments);
        }
    }
    board.wait(S);
    assert_eq!((board.answers.len(), board.done.len()), (2, 2));
}

#[test]
fn a_board_that_does_not_answer_costs_no_more_than_its_time() {
    let mut board = Board::new();
    board.call(1, relay(true));
    board.listens = false;
    for number in 2..4 {
        board.call(number, relay(false));
    }
    board.wait(PATIENCE_US - 1);
    assert_eq!(board.answers.len(), 1);
    board.wait(1);
    let late: Vec<_> = board.answers.drain(1..).collect();
    assert_eq!(late, [(3, Failure::Unsent.into()), (2, Failure::Unanswered.into())]);
    board.listens = true;
    board.wait(S);
    assert_eq!(board.done.len(), 1, "nothing is done late");
    board.call(4, relay(false));
    assert!(matches!(board.answers[1..], [(4, Answer::Done(_))]));
}

#[test]
fn what_a_board_cannot_do_is_answered_at_once() {
    let mut board = Board::new();
    board.call(1, Call::Set(vec![("temp".into(), nine())]));
    board.call(2, Call::Own { command: 16, arguments: [0; 55].into() });
    board.call(3, Call::Own { command: 16, arguments: [0; 54].into() });
    let mut deaf = Board::with(Hello { caps: 1, ..HELLO }, None);
    deaf.call(4, Call::Reboot);
    let said: Vec<_> = board
        .answers
        .into_iter()
        .chain(deaf.answers)
        .map(|(number, answer)| match answer {
            Answer::Failed(Failure::Invalid(why)) => (number, why),
            other => (number, other.status().to_owned()),
        })
        .collect();
    assert_eq!(
        said,
        [
            (1, "temp cannot be set; channels that can: relay".to_owned()),
            (2, "this board takes 54 bytes of arguments; these are 55".to_owned()),
            (3, "ok".to_owned()),
            (4, "this board takes no commands".to_owned()),
        ]
    );
}

#[test]
fn too_many_commands_and_closed_ports_are_told() {
    let mut board = Board::new();
    board.listens = false;
    let many = u64::try_from(WAITING_MAX).unwrap() + 2;
    (1..=many).for_each(|number| board.call(number, relay(true)));
    assert_eq!(board.answers, [(many - 1, Failure::Busy.into()), (many, Failure::Busy.into())]);
    board.rig.link.closed();
    let actions = board.rig.actions();
    board.play(actions);
    let offline = board.answers.iter().filter(|(_, answer)| answer.status() == "offline").count();
    assert_eq!(offline, WAITING_MAX, "{:?}", board.answers);
}

#[test]
fn a_board_that_reboots_instead_of_answering_may_have_done_it() {
    let mut board = Board::new();
    board.call(1, relay(true));
    board.listens = false;
    board.call(2, own(16));
    let actions = board.rig.hear(Message::Hello(Hello { boot: BOOT + 1, ..HELLO }));
    board.play(actions);
    assert_eq!(board.answers[1..], [(2, Failure::Gone.into())]);
}

#[test]
fn commands_wait_for_the_channels_to_be_known() {
    let mut rig = Rig::open();
    rig.hear(Message::Hello(HELLO));
    rig.link.call(1, own(16), rig.now());
    assert!(!rig.actions().iter().any(|action| matches!(action, Action::Call { .. })));
    rig.describe(0, "temp");
    let actions = rig.describe(1, "hum");
    assert!(actions.iter().any(|action| matches!(action, Action::Call { .. })), "{actions:?}");
}
