//! The book-keeper of a session: sees the inputs and says what must be true. Written apart from the rules
//! and in another way, so that a mistake would have to be made twice.

use std::collections::BTreeMap;

use super::*;

/// A ticket as the book-keeper knows it.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) secret: Secret,
    pub(super) to: ConnectionId,
    pub(super) publisher: bool,
    pub(super) expires: Tick,
    pub(super) valid: bool,
}

/// Somebody in the room, as the book-keeper knows it.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) publisher: bool,
    pub(super) connection: Option<ConnectionId>,
    pub(super) away_until: Option<Tick>,
    pub(super) resume: Secret,
}

/// What must be true of the session.
#[derive(Debug)]
pub(super) struct Plan {
    required: bool,
    allowed: bool,
    pub(super) open: bool,
    pub(super) over: bool,
    deadline: Tick,
    latest: Tick,
    pub(super) askers: Vec<ConnectionId>,
    abandoned: Option<Tick>,
    /// When it is given up, as long as nobody came since it was restored.
    pub(super) alone: Option<Tick>,
    pub(super) focus: Option<ConnectionId>,
    pub(super) offered: Option<ConnectionId>,
    lonely_until: Option<Tick>,
    pub(super) handed: Vec<Handed>,
    pub(super) room: BTreeMap<ParticipantId, Guest>,
    pub(super) paused: bool,
    pub(super) asks: Option<ParticipantId>,
    pub(super) granted: Option<ParticipantId>,
    pub(super) epoch: u64,
    kind: SessionKind,
    pub(super) shows: SessionKind,
    /// When each agent last showed the guest a place.
    pointed: BTreeMap<ParticipantId, Tick>,
    /// Whether the input taken last shows one.
    pub(super) points: bool,
}

impl Plan {
    pub(super) fn new(kind: SessionKind, required: bool, allowed: bool, focus: Option<ConnectionId>) -> Self {
        let mut plan = Self {
            required,
            allowed,
            open: false,
            over: false,
            deadline: Tick::default().after(DEADLINE),
            latest: Tick::default().after(limits::SESSION_LENGTH),
            askers: vec![ALICE],
            abandoned: None,
            alone: None,
            focus: None,
            offered: None,
            lonely_until: None,
            handed: Vec::new(),
            room: BTreeMap::new(),
            paused: false,
            asks: None,
            granted: None,
            epoch: 0,
            kind,
            shows: kind,
            pointed: BTreeMap::new(),
            points: false,
        };
        plan.looks_at(Tick::default(), focus);
        plan
    }

    pub(super) fn asking(&self) -> bool {
        !self.open && !self.over
    }

    pub(super) fn publisher(&self) -> Option<ParticipantId> {
        self.room.iter().find(|(_, guest)| guest.publisher).map(|(id, _)| *id)
    }

    pub(super) fn next(&self) -> Option<Tick> {
        if self.over {
            return None;
        }
        let asked = self.asking().then_some(self.deadline);
        let away = self.room.values().filter_map(|guest| guest.away_until).min();
        [asked, self.abandoned, self.alone, self.lonely_until, away, Some(self.latest)]
            .into_iter()
            .flatten()
            .min()
    }

    /// What has happened by itself until now.
    pub(super) fn time(&mut self, now: Tick) {
        while let Some(due) = self.next().filter(|due| *due <= now) {
            let gone = self.room.iter().find(|(_, guest)| guest.away_until == Some(due)).map(|(id, _)| *id);
            match gone {
                Some(id) if ![self.lonely_until, self.alone].contains(&Some(due)) => self.leaves(due, id),
                _ => self.ends(),
            }
        }
    }

    /// Another node goes on with it: nobody is connected, and what was due meanwhile is due now.
    pub(super) fn restored(&mut self, now: Tick) {
        let back_until = now.after(limits::RESUME_WINDOW);
        self.askers.clear();
        self.focus = None;
        self.offered = None;
        self.asks = None;
        self.granted = None;
        self.epoch += 1 << 20;
        self.pointed.clear();
        for guest in self.room.values_mut() {
            guest.connection = None;
            guest.away_until = Some(back_until);
        }
        for ticket in &mut self.handed {
            ticket.to = ConnectionId(0);
        }
        self.abandoned = self.asking().then_some(back_until);
        self.alone = Some(back_until);
        self.deadline = self.deadline.max(now);
        self.latest = self.latest.max(now);
        if self.open {
            self.looks_who_is_missing(now);
            self.lonely_until = self.lonely_until.max(Some(now));
        }
    }

    fn opens(&mut self, now: Tick) {
        self.open = true;
        self.abandoned = None;
        self.lonely_until = Some(now.after(limits::WAITING));
    }

    fn ends(&mut self) {
        self.over = true;
        self.asks = None;
        self.granted = None;
    }

    fn looks_at(&mut self, now: Tick, focus: Option<ConnectionId>) {
        self.focus = focus;
        if self.asking() && focus.is_some() {
            self.offered = focus;
            if !self.required {
                self.opens(now);
            }
        }
    }

    pub(super) fn looks_who_is_missing(&mut self, now: Tick) {
        let watched = self.room.values().any(|guest| !guest.publisher && guest.connection.is_some());
        if self.publisher().is_some() && watched {
            self.lonely_until = None;
        } else {
            self.lonely_until.get_or_insert(now.after(limits::WAITING));
        }
    }

    /// Whoever is away neither has control nor gives it.
    pub(super) fn frees_control(&mut self, who: ParticipantId) {
        let all = self.publisher() == Some(who);
        if all || self.granted == Some(who) {
            self.epoch += u64::from(self.granted.take().is_some());
        }
        if all || self.asks == Some(who) {
            self.asks = None;
        }
    }

    fn leaves(&mut self, now: Tick, who: ParticipantId) {
        self.frees_control(who);
        let publisher = self.publisher() == Some(who);
        self.room.remove(&who);
        if publisher {
            self.ends();
        } else {
            self.looks_who_is_missing(now);
        }
    }

    /// Whether a ticket must open the door now; it is used by that.
    pub(super) fn opens_door(&mut self, now: Tick, secret: &Secret) -> Option<bool> {
        let over = self.over;
        let ticket = self.handed.iter_mut().find(|ticket| ticket.secret.matches(secret))?;
        if over || !ticket.valid || now >= ticket.expires {
            return None;
        }
        ticket.valid = false;
        Some(ticket.publisher)
    }

    pub(super) fn hands(&mut self, now: Tick, secret: Secret, to: ConnectionId, publisher: bool) {
        for old in &mut self.handed {
            if old.publisher == publisher && (publisher || old.to == to) {
                old.valid = false;
            }
        }
        let expires = now.after(limits::TICKET_LIFE);
        self.handed.push(Handed { secret, to, publisher, expires, valid: true });
    }

    fn hears(&mut self, now: Tick, who: ParticipantId, what: &Say) {
        let publishes = self.publisher() == Some(who);
        if self.room.get(&who).is_none_or(|guest| guest.connection.is_none()) {
            return;
        }
        match what {
            Say::Leave => self.leaves(now, who),
            Say::End { .. } => self.ends(),
            Say::Pause if publishes => {
                if !self.paused {
                    self.frees_control(who);
                }
                self.paused = true;
            }
            Say::Resume if publishes => self.paused = false,
            Say::Shows(now @ (SessionKind::Cobrowse | SessionKind::Screen))
                if publishes && self.kind == SessionKind::Cobrowse && self.shows != *now =>
            {
                self.frees_control(who);
                self.shows = *now;
            }
            Say::Point(_) if self.may_point(who) && !self.paused => {
                let last = self.pointed.get(&who);
                self.points = last.is_none_or(|last| now >= last.after(limits::POINT_SPACING));
                if self.points {
                    self.pointed.insert(who, now);
                }
            }
            Say::RequestControl if !publishes && self.allowed && self.granted.is_none() => {
                self.asks.get_or_insert(who);
            }
            Say::GrantControl(to) if publishes && self.asks == Some(*to) => {
                self.granted = self.asks.take();
                self.epoch += 1;
            }
            Say::RejectControl(to) if publishes && self.asks == Some(*to) => self.asks = None,
            Say::RevokeControl if publishes && self.granted.is_some() => {
                self.granted = None;
                self.epoch += 1;
            }
            Say::ReleaseControl if self.asks == Some(who) || self.granted == Some(who) => {
                self.frees_control(who);
            }
            _ => {}
        }
    }

    /// Whoever is there and does not publish is an agent that watches.
    pub(super) fn may_point(&self, who: ParticipantId) -> bool {
        let here = self.room.get(&who).is_some_and(|guest| guest.connection.is_some());
        here && !self.over && self.publisher() != Some(who)
    }

    pub(super) fn takes(&mut self, now: Tick, input: &Input) {
        self.points = false;
        self.time(now);
        if self.over {
            return;
        }
        match input {
            Input::Join(asker) => {
                if !self.askers.contains(&asker.connection) {
                    self.askers.push(asker.connection);
                }
                self.abandoned = None;
                self.alone = None;
            }
            Input::AgentLost(connection) => {
                self.askers.retain(|asker| asker != connection);
                if self.askers.is_empty() && self.asking() {
                    self.abandoned.get_or_insert(now.after(Session::ABANDONED));
                }
            }
            Input::Focus(focus) => {
                if focus.is_some() {
                    self.alone = None;
                }
                self.looks_at(now, *focus);
            }
            Input::VisitorGone if self.asking() || self.publisher().is_none() => self.ends(),
            Input::VisitorGone => self.focus = None,
            Input::Answer { request: REQUEST, by, accepted, version }
                if self.asking() && self.offered == Some(*by) =>
            {
                match (*accepted, version.as_deref()) {
                    (false, _) => self.ends(),
                    (true, None | Some("v1")) => self.opens(now),
                    (true, _) => {}
                }
            }
            Input::Cancel { request: REQUEST, by } if self.asking() && self.askers.contains(by) => {
                self.askers.retain(|asker| asker != by);
                if self.askers.is_empty() {
                    self.ends();
                }
            }
            Input::Lost { participant, connection } => {
                let Some(guest) = self.room.get_mut(participant) else { return };
                if guest.connection == Some(*connection) {
                    guest.connection = None;
                    guest.away_until = Some(now.after(limits::RESUME_WINDOW));
                    self.frees_control(*participant);
                    self.looks_who_is_missing(now);
                }
            }
            Input::Say { participant, what } => self.hears(now, *participant, what),
            Input::End(_) => self.ends(),
            _ => {}
        }
    }
}
