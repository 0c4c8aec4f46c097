//! Steps of a scenario: what its operator does to hosts and programs while it runs.

use super::Simulation;
use super::ports::ANY;
use super::servers::ms;
use super::settings::Tuned;
use super::socket::{Owner, Socket, SocketRef};
use super::table::{self, Entry};
use super::transport::{Drive, Notice};
use crate::scenario::{How, Step};
use tcp::State;

impl Simulation<'_> {
    /// Settings change, sockets are destroyed, programs end.
    pub(super) fn step(&mut self, step: &Step) {
        let later = self.world.steps.iter().map(|step| ms(step.at_ms)).filter(|at| *at > self.now);
        self.next_step = later.min();
        self.forget_lives();
        let number = |name: &str| self.world.hosts.iter().position(|host| host.name == name);
        if let Some(host) = step.host.as_deref().and_then(number) {
            if step.set.iter().next().is_some() {
                self.change(host, step);
            }
            if let Some(state) = step.destroy.as_deref().and_then(|state| state.parse().ok()) {
                self.destroy(host, state);
            }
        }
        for (name, again) in
            step.end.iter().map(|name| (name, false)).chain(step.restart.iter().map(|name| (name, true)))
        {
            if let Some(client) = self.world.clients.iter().position(|client| client.name == *name) {
                self.end_of(client);
            }
            if let Some(server) = self.world.servers.iter().position(|server| server.name == *name) {
                self.end_server(server);
                if again {
                    self.restart(server);
                }
            }
        }
    }

    /// The client ends: its sockets close as the kernel closes them.
    fn end_of(&mut self, client: usize) {
        self.clients[client].ended = true;
        self.clients[client].pool.clear();
        self.clients[client].active = 0;
        self.end_sockets(self.client_hosts[client], Owner::Client(client));
    }

    /// exit(): every socket of a process closes, and no close() waits (net/ipv4/af_inet.c inet_release()).
    fn end_sockets(&mut self, host: usize, owner: Owner) {
        let open: Vec<_> = self.hosts[host]
            .sockets
            .iter()
            .filter(|(_, socket)| socket.owner == owner && (!socket.talk.closed || socket.talk.lingers))
            .map(|(slot, socket)| (slot, socket.talk.unread > 0 && !socket.talk.lingers))
            .collect();
        for (slot, unread) in open {
            let at = SocketRef { host, slot };
            if let Some(socket) = self.hosts[host].socket_mut(slot) {
                socket.talk.done = true;
                socket.talk.closed = true;
                socket.talk.lingers = false;
            }
            self.shut(at, if unread { How::Unread } else { How::Fin });
        }
    }

    fn change(&mut self, number: usize, step: &Step) {
        let host = &mut self.hosts[number];
        host.changed.values.extend(step.set.iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        let tuned = Tuned::new(self.world, &self.world.hosts[number], &host.changed);
        host.ports.set_range(tuned.range, &tuned.reserved);
        host.ports.forget_age();
        host.tuned = tuned;
        host.aging.clear();
        let mut minis: Vec<u32> = host.minis.iter().map(|(slot, _)| slot).collect();
        minis.sort_by_key(|slot| host.minis.get(*slot).residue.entered);
        for slot in minis {
            let mini = self.hosts[number].minis.get(slot);
            self.watch_age(number, slot, &mini);
        }
    }

    /// `ss -K`.
    fn destroy(&mut self, host: usize, state: State) {
        let minis = self.hosts[host].minis.iter().filter(|(_, mini)| mini.residue.state == state);
        let minis: Vec<u32> = minis.map(|(slot, _)| slot).collect();
        for slot in minis {
            let host = &mut self.hosts[host];
            let mini = host.remove_mini(slot);
            host.moved(state, State::Closed);
            host.release(mini.hold);
        }
        let sockets: Vec<_> = self.hosts[host]
            .sockets
            .iter()
            .filter(|(_, socket)| socket.endpoint.state() == state)
            .map(|(slot, _)| SocketRef { host, slot })
            .collect();
        for at in sockets {
            self.drive(at, Drive::Destroy);
            self.notice(at, Notice::Broken("ECONNABORTED"));
        }
    }

    fn end_server(&mut self, server: usize) {
        // What of the connections under way is whose, and in which order they end, only segments tell.
        self.disturbed |= !self.rehearses;
        let config = &self.world.servers[server];
        let Some(number) = self.world.hosts.iter().position(|host| host.name == config.host) else { return };
        for port in config.port..=config.port.saturating_add(config.ports - 1) {
            if self.hosts[number].listeners.remove(&port).is_some() {
                self.hosts[number].ports.let_go(ANY, port, true);
            }
        }
        self.drop_queue(number, Owner::Server(server));
        self.end_sockets(number, Owner::Server(server));
    }

    /// A listener closes: what waits for accept() is reset, and a handshake that is not complete is forgotten without a
    /// word (net/ipv4/inet_connection_sock.c inet_csk_listen_stop()).
    fn drop_queue(&mut self, number: usize, owner: Owner) {
        let begins = |socket: &Socket| socket.endpoint.state() == State::SynReceived;
        let waits = |socket: &Socket| socket.owner == owner && (socket.talk.queued || begins(socket));
        let sockets = self.hosts[number].sockets.iter().filter(|(_, socket)| waits(socket));
        let waiting: Vec<_> = sockets.map(|(slot, socket)| (slot, begins(socket))).collect();
        for (slot, begins) in waiting {
            let host = &mut self.hosts[number];
            if begins {
                if let Some(socket) = host.sockets.remove(slot) {
                    host.table.remove(table::hash(&socket.tuple), Entry::Socket(slot));
                    host.release(socket.hold);
                    host.moved(State::SynReceived, State::Closed);
                }
                continue;
            }
            if let Some(socket) = host.socket_mut(slot) {
                // Nobody counts it any more, and it was never anybody's.
                socket.talk.queued = false;
                socket.talk.closed = true;
            }
            self.drive(SocketRef { host: number, slot }, Drive::Destroy);
        }
    }

    /// bind() again: without SO_REUSEADDR not over what is left of the old connections.
    fn restart(&mut self, server: usize) {
        let config = &self.world.servers[server];
        let Some(number) = self.world.hosts.iter().position(|host| host.name == config.host) else { return };
        let host = &self.hosts[number];
        let ports = config.port..=config.port.saturating_add(config.ports - 1);
        let minis = host.minis.iter().map(|(_, mini)| (mini.tuple.local.port, mini.hold));
        let sockets = host.sockets.iter().filter(|(_, socket)| socket.in_table);
        let sockets = sockets.map(|(_, socket)| (socket.tuple.local.port, socket.hold));
        let blocked = minis.chain(sockets).any(|(port, hold)| {
            let by_connect = hold.is_some_and(|hold| hold.flow.is_some());
            ports.contains(&port) && (by_connect || !config.reuse_address)
        });
        if blocked {
            *self.server_failures.entry(format!("{}.failed.bind.EADDRINUSE", config.name)).or_insert(0) += 1;
        } else {
            self.listen(server);
        }
    }
}
