//! What the server and its connections share: a [`Slot`] for each connection, and the [`Hub`] with the slots.
//!
//! All of this stays on the server's thread. A slot has three users: the connection in the hands of the handler, the task that
//! polls the handler, and the server:
//!
//! ```text
//!   Connection (the handler's)         Slot                        task of the connection       server
//!   ──────────────────────────         ────                        ──────────────────────       ──────
//!   reads, writes            ── facts: a byte has come, the peer
//!                               has ended, a limit was exceeded ──► the outcome
//!   idle() leaves a waker    ◄───────────────────────────────────────────────────────────────── stop, soft limit
//!   fails if it is cut       ◄── is_cut ──────────────────────────► drops the handler's future ◄── abort
//!   drop: half-closes        ── stream, if it is to linger ───────► lingers, closes
//!                                                                   drop of the ticket: counts, removes the slot
//! ```
//!
//! No `RefCell` of this file is borrowed while a waker, a hook or a destructor of the user runs.

use super::address::Address;
use super::control::Control;
use super::event::{Event, Hook};
use super::io::{Stream, Unread};
use super::report::{Outcome, TimeLimit};
use super::settings::Settings;
use crate::foreign::contain;
use async_timeout::{CancelToken, now};
use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io;
use std::net::{IpAddr, Shutdown};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

/// A place for one waker.
#[derive(Default)]
pub(super) struct WakerCell(RefCell<Option<Waker>>);

impl WakerCell {
    /// Leaves `waker`, unless an equal one is there.
    pub(super) fn register(&self, waker: &Waker) {
        if self.0.borrow().as_ref().is_some_and(|registered| registered.will_wake(waker)) {
            return;
        }
        let new = waker.clone();
        let old = self.0.replace(Some(new));
        drop(old);
    }

    /// Wakes and removes the waker, if there is one. A panic of the waker goes no further.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.0.take() {
            contain(|| waker.wake());
        }
    }
}

/// One connection.
pub(super) struct Slot {
    /// The server.
    pub(super) hub: Rc<Hub>,
    /// The number of the connection, from 0 in the order of the accepts.
    pub(super) id: u64,
    /// The number of the listener.
    pub(super) listener: usize,
    /// The address of the peer.
    pub(super) peer: Address,
    /// The time of the accept.
    pub(super) accepted_at: Instant,
    /// The server's share of the stream. Taken when the socket is to be closed.
    stream: RefCell<Option<Stream>>,
    /// Whether the [`Connection`](super::Connection) exists.
    is_held: Cell<bool>,
    /// Whether the server has aborted the connection. Set once.
    is_cut: Cell<bool>,
    /// Whether the [`Connection`](super::Connection) existed when the server aborted it. Set once.
    was_cut_short: Cell<bool>,
    /// Whether the socket is to be closed by a reset: the handler has panicked, or was aborted in the middle of something.
    resets: Cell<bool>,
    /// Whether a byte has come, or the connection does not count as a new one for another reason. Set once.
    pub(super) has_begun: Cell<bool>,
    /// Whether the peer has closed its direction, and all that it has sent was read.
    pub(super) peer_has_ended: Cell<bool>,
    /// Whether the server has made the connection end because it was idle.
    pub(super) was_told_to_end: Cell<bool>,
    /// Whether the connection is to end for the soft limit, unless a byte comes.
    pub(super) is_shed: Cell<bool>,
    /// When the present wait for a request began. Only kept if there is a soft limit.
    waits_since: Cell<Option<Instant>>,
    /// The limit of time that was exceeded.
    pub(super) exceeded: Cell<Option<TimeLimit>>,
    /// Wakes the task that waits for a request.
    pub(super) idle_waker: WakerCell,
    /// Wakes the task of the connection.
    pub(super) task_waker: WakerCell,
}

impl Slot {
    /// Returns whether the server has aborted the connection.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// Returns whether the [`Connection`](super::Connection) exists.
    pub(super) fn is_held(&self) -> bool {
        self.is_held.get()
    }

    /// Returns whether the [`Connection`](super::Connection) existed when the server aborted it.
    pub(super) fn was_cut_short(&self) -> bool {
        self.was_cut_short.get()
    }

    /// Makes the close of the socket a reset.
    pub(super) fn reset_on_close(&self) {
        self.resets.set(true);
    }

    /// Notes that the connection waits for a request.
    pub(super) fn wait(&self) {
        if self.hub.settings.soft_limit.is_some() && self.waits_since.get().is_none() {
            self.waits_since.set(Some(now()));
        }
    }

    /// Notes that the connection waits no more.
    pub(super) fn end_wait(&self) {
        self.waits_since.set(None);
    }

    /// Returns since when the connection is idle: since its accept, if no byte has come yet.
    fn idle_since(&self) -> Option<Instant> {
        if self.has_begun.get() { self.waits_since.get() } else { Some(self.accepted_at) }
    }

    /// Looks whether an unread byte is there.
    pub(super) fn look(&self) -> io::Result<Unread> {
        self.stream.borrow().as_ref().map_or(Ok(Unread::End), Stream::look)
    }

    /// Notes that the [`Connection`](super::Connection) is being dropped. Its own share of the stream is dropped next.
    ///
    /// If closing the socket could destroy what was sent, only the server's direction is closed, and the task of the
    /// connection lingers. The peer sees the end at once in any case.
    pub(super) fn let_go(&self) {
        self.is_held.set(false);
        if std::thread::panicking() {
            self.reset_on_close();
        }
        let lingers = self.hub.settings.linger.is_some()
            && !(self.is_cut.get() || self.resets.get() || self.peer_has_ended.get() || self.exceeded.get().is_some());
        // If the peer has reset the connection, there is nothing to linger for.
        if !(lingers && self.stream.borrow().as_ref().is_some_and(|stream| stream.shutdown(Shutdown::Write).is_ok())) {
            self.close();
        }
        self.task_waker.wake();
    }

    /// Gives up the server's share of the stream.
    fn close(&self) {
        let Some(stream) = self.stream.take() else { return };
        // A peer that takes nothing, or too little, must not keep the kernel busy with what it has not taken.
        let of_limit =
            matches!(self.exceeded.get(), Some(TimeLimit::WriteStall | TimeLimit::MinRate | TimeLimit::Lifetime));
        if self.resets.get() || of_limit {
            stream.reset_on_close();
        }
        if self.is_held() {
            // The handler's share stays: what waits for it is woken by the end of the connection.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Takes the stream to linger, if there is a reason to.
    pub(super) fn take_to_linger(&self) -> Option<Stream> {
        self.stream.take()
    }

    /// Aborts the connection.
    fn cut(&self) {
        if !self.is_cut.replace(true) {
            self.was_cut_short.set(self.is_held());
        }
        self.task_waker.wake();
    }
}

/// What the connections of a server share with it.
pub(super) struct Hub {
    /// The limits.
    pub(super) settings: Settings,
    /// What is shared with other threads.
    pub(super) control: Arc<Control>,
    /// Cancelled when the server begins to drain.
    pub(super) token: CancelToken,
    /// The connections by their numbers.
    slots: RefCell<BTreeMap<u64, Rc<Slot>>>,
    /// The number of connections of each client. Only kept if it is limited.
    clients: RefCell<HashMap<IpAddr, usize>>,
    /// The number of the next connection.
    next: Cell<u64>,
    /// Whether idle connections are to end.
    is_draining: Cell<bool>,
    /// Whether the end of a connection wakes the server.
    pub(super) wants_ends: Cell<bool>,
    /// The user's hook. Taken while it is called.
    hook: RefCell<Option<Hook>>,
}

impl Hub {
    /// Returns a hub without connections.
    pub(super) fn new(settings: Settings, control: Arc<Control>, hook: Option<Hook>) -> Rc<Self> {
        Rc::new(Self {
            settings,
            control,
            token: CancelToken::new(),
            slots: RefCell::default(),
            clients: RefCell::default(),
            next: Cell::new(0),
            is_draining: Cell::new(false),
            wants_ends: Cell::new(false),
            hook: RefCell::new(hook),
        })
    }

    /// Returns the number of open connections.
    pub(super) fn active(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Returns whether idle connections are to end.
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.get()
    }

    /// Adds a connection, and counts it.
    pub(super) fn add(self: &Rc<Self>, stream: Stream, peer: Address, listener: usize) -> Ticket {
        let id = self.next.replace(self.next.get() + 1);
        let slot = Rc::new(Slot {
            hub: Rc::clone(self),
            id,
            listener,
            peer,
            accepted_at: now(),
            stream: RefCell::new(Some(stream)),
            is_held: Cell::new(true),
            is_cut: Cell::new(false),
            was_cut_short: Cell::new(false),
            resets: Cell::new(false),
            has_begun: Cell::new(false),
            peer_has_ended: Cell::new(false),
            was_told_to_end: Cell::new(false),
            is_shed: Cell::new(false),
            waits_since: Cell::new(None),
            exceeded: Cell::new(None),
            idle_waker: WakerCell::default(),
            task_waker: WakerCell::default(),
        });
        self.slots.borrow_mut().insert(id, Rc::clone(&slot));
        if let Some(client) = self.client(&slot.peer) {
            *self.clients.borrow_mut().entry(client).or_default() += 1;
        }
        self.control.counters.accept();
        self.emit(&Event::Accepted { id, listener, peer: &slot.peer });
        Ticket { slot, has_ended: false }
    }

    /// Returns what connections of `peer` are counted by; `None` if they are not counted.
    fn client(&self, peer: &Address) -> Option<IpAddr> {
        self.settings.max_per_address.and_then(|_| peer.client())
    }

    /// Returns whether the client at `peer` may have one more connection.
    pub(super) fn has_room_for(&self, peer: &Address) -> bool {
        let open = self.client(peer).and_then(|client| self.clients.borrow().get(&client).copied());
        open.zip(self.settings.max_per_address).is_none_or(|(open, limit)| open < limit)
    }

    /// Removes a connection.
    fn remove(&self, slot: &Slot) {
        self.slots.borrow_mut().remove(&slot.id);
        let Some(client) = self.client(&slot.peer) else { return };
        let mut clients = self.clients.borrow_mut();
        if let Entry::Occupied(mut open) = clients.entry(client) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }

    /// Makes the connection end that has been idle longest, if there are more than the soft limit, and it was idle for long
    /// enough. Looks at all connections.
    pub(super) fn shed(&self) {
        let Some((limit, idle)) = self.settings.soft_limit else { return };
        let longest = {
            let slots = self.slots.borrow();
            // Connections that are about to end do not count.
            if slots.len() - slots.values().filter(|slot| slot.is_shed.get()).count() <= limit {
                return;
            }
            let others = slots.values().filter(|slot| !slot.is_shed.get());
            let longest = others.filter_map(|slot| Some((slot.idle_since()?, slot))).min_by_key(|(since, _)| *since);
            longest
                .filter(|(since, _)| now().saturating_duration_since(*since) >= idle)
                .map(|(_, slot)| Rc::clone(slot))
        };
        if let Some(slot) = longest {
            slot.is_shed.set(true);
            slot.idle_waker.wake();
        }
    }

    /// Begins to drain: idle connections end, and the handlers hear of the stop.
    pub(super) fn drain(&self) {
        if !self.is_draining.replace(true) {
            contain(|| self.token.cancel());
            self.each(|slot| slot.idle_waker.wake());
        }
    }

    /// Aborts all connections.
    pub(super) fn cut_all(&self) {
        self.each(Slot::cut);
    }

    /// Calls `act` for each connection.
    fn each(&self, act: impl Fn(&Slot)) {
        let slots: Vec<_> = self.slots.borrow().values().map(Rc::clone).collect();
        slots.iter().for_each(|slot| act(slot));
    }

    /// Returns whether there is a hook.
    pub(super) fn has_hook(&self) -> bool {
        self.hook.borrow().is_some()
    }

    /// Tells the user's hook. A panic of the hook goes no further.
    pub(super) fn emit(&self, event: &Event<'_>) {
        let Some(mut hook) = self.hook.take() else { return };
        contain(|| hook(event));
        self.hook.replace(Some(hook));
    }
}

/// The right of a connection to be open. Dropping the ticket ends the connection: it is counted, once, and its place is free.
pub(super) struct Ticket {
    /// The connection.
    pub(super) slot: Rc<Slot>,
    /// The connection has been counted.
    has_ended: bool,
}

impl Ticket {
    /// Ends the connection.
    pub(super) fn end(mut self, outcome: Outcome, error: Option<&(dyn Error + 'static)>) {
        self.count(outcome, error);
    }

    /// Closes the socket, counts the connection, and makes room for another one.
    fn count(&mut self, outcome: Outcome, error: Option<&(dyn Error + 'static)>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let Slot { hub, id, listener, peer, .. } = &*self.slot;
        self.slot.close();
        hub.remove(&self.slot);
        hub.control.counters.end(outcome, self.slot.is_shed.get());
        hub.emit(&Event::Closed { id: *id, listener: *listener, peer, outcome, error });
        if hub.wants_ends.get() {
            hub.control.waker.wake();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // The task was dropped: with its pool, for example.
        self.slot.reset_on_close();
        self.count(Outcome::Aborted, None);
    }
}
