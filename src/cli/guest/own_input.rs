//! The person at the computer and the agent who controls it: the person wins.
//!
//! Decides from the places of the pointer who moved it, and for how long the agent's input is held back then. There is one
//! pointer for both, so a place that nobody played is the person's. Keys leave no trace: typing alone is not noticed.

use super::platform::{Hands, PlatformError};
use crate::clock::Tick;
use crate::limits;
use crate::wire::session::{InputEvent, InputKind};

/// What a look tells of the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It did not move the pointer.
    None,
    /// It did, and nothing was held back for it before.
    Begins,
    /// It did again.
    Goes,
}

/// What is known of the person's own input, under one grant.
#[derive(Debug, Default)]
pub(super) struct OwnInput {
    /// Where the pointer was last seen, or put.
    last: Option<(i16, i16)>,
    /// When the agent's input is played again.
    until: Option<Tick>,
}

impl OwnInput {
    /// Looks whether the person moved the pointer. When that begins, whatever the agent held is let go of.
    pub(super) fn look(&mut self, now: Tick, hands: &mut dyn Hands) -> Result<Use, PlatformError> {
        let held = self.holds(now);
        if !self.sees(now, hands.pointer()?) {
            return Ok(Use::None);
        }
        if held {
            return Ok(Use::Goes);
        }
        hands.release()?;
        Ok(Use::Begins)
    }

    /// Plays what an agent did; while it is held back, only what lets go of something.
    pub(super) fn play(
        &mut self,
        now: Tick,
        hands: &mut dyn Hands,
        events: Vec<InputEvent>,
    ) -> Result<(), PlatformError> {
        let held = self.holds(now);
        for mut event in events {
            if held {
                if !matches!(event.t, InputKind::Up | InputKind::Keyup) {
                    continue;
                }
                // Where the pointer is then is the person's business.
                (event.x, event.y) = (None, None);
            }
            hands.apply(&event)?;
        }
        self.last = hands.pointer()?;
        Ok(())
    }

    /// The pointer is here: whether the person moved it since.
    fn sees(&mut self, now: Tick, place: Option<(i16, i16)>) -> bool {
        let before = std::mem::replace(&mut self.last, place);
        let moved = before.is_some() && place.is_some() && before != place;
        if moved {
            self.until = Some(now.after(limits::GUEST_OWN_INPUT));
        }
        moved
    }

    /// Whether the agent's input is held back.
    fn holds(&self, now: Tick) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Place = Option<(i16, i16)>;

    const AT: Place = Some((10, 20));
    const ELSEWHERE: Place = Some((11, 20));

    /// A computer that writes down what is played.
    #[derive(Default)]
    struct Computer {
        place: Place,
        played: Vec<InputKind>,
        released: usize,
    }

    impl Hands for Computer {
        fn apply(&mut self, event: &InputEvent) -> Result<(), PlatformError> {
            self.played.push(event.t);
            if let (Some(_), Some((x, y))) = (event.x, self.place) {
                self.place = Some((x + 5, y));
            }
            Ok(())
        }

        fn release(&mut self) -> Result<(), PlatformError> {
            self.released += 1;
            Ok(())
        }

        fn pointer(&mut self) -> Result<Place, PlatformError> {
            Ok(self.place)
        }
    }

    fn events() -> Vec<InputEvent> {
        serde_json::from_value(serde_json::json!([
            {"t": "move", "x": 1, "y": 1}, {"t": "down", "x": 1, "y": 1}, {"t": "up", "x": 1, "y": 1},
            {"t": "wheel", "x": 1, "y": 1}, {"t": "keydown"}, {"t": "keyup"}, {"t": "text"},
        ]))
        .unwrap()
    }

    #[test]
    fn a_pointer_that_nobody_played_holds_the_agents_input_back_for_a_while() {
        let mut computer = Computer { place: AT, ..Computer::default() };
        let mut own = OwnInput::default();
        let start = Tick(5);
        assert_eq!(own.look(start, &mut computer).unwrap(), Use::None, "the first place is nobody's move");
        own.play(start, &mut computer, events()).unwrap();
        assert_eq!(own.look(start, &mut computer).unwrap(), Use::None, "the agent put it there");
        assert_eq!((std::mem::take(&mut computer.played).len(), computer.released), (7, 0));

        computer.place = ELSEWHERE;
        assert_eq!(own.look(start, &mut computer).unwrap(), Use::Begins);
        assert_eq!(computer.released, 1, "what the agent held is let go of");
        let end = start.after(limits::GUEST_OWN_INPUT);
        own.play(Tick(end.0 - 1), &mut computer, events()).unwrap();
        assert_eq!(std::mem::take(&mut computer.played), [InputKind::Up, InputKind::Keyup]);
        assert_eq!(computer.place, ELSEWHERE, "the pointer stays where the person has it");
        own.play(end, &mut computer, events()).unwrap();
        assert_eq!(computer.played.len(), 7);
    }

    #[test]
    fn each_move_of_the_person_begins_the_while_anew() {
        let mut computer = Computer { place: AT, ..Computer::default() };
        let mut own = OwnInput::default();
        own.look(Tick(0), &mut computer).unwrap();
        computer.place = ELSEWHERE;
        assert_eq!(own.look(Tick(0), &mut computer).unwrap(), Use::Begins);
        let later = Tick(0).after(limits::GUEST_OWN_INPUT / 2);
        assert_eq!(own.look(later, &mut computer).unwrap(), Use::None, "it stands still");
        computer.place = AT;
        assert_eq!(own.look(later, &mut computer).unwrap(), Use::Goes);
        assert_eq!(computer.released, 1);
        assert!(own.holds(Tick(0).after(limits::GUEST_OWN_INPUT)));
        assert!(!own.holds(later.after(limits::GUEST_OWN_INPUT)));
    }

    #[test]
    fn a_computer_that_does_not_tell_the_place_holds_nothing_back() {
        let mut computer = Computer { place: AT, ..Computer::default() };
        let mut own = OwnInput::default();
        for place in [AT, None, ELSEWHERE] {
            computer.place = place;
            assert_eq!(own.look(Tick(0), &mut computer).unwrap(), Use::None, "what was between is not known");
        }
        own.play(Tick(0), &mut computer, events()).unwrap();
        assert_eq!(computer.played.len(), 7);
    }
}
