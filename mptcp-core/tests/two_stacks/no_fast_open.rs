//! TCP Fast Open where one of the TCPs cannot do it.

use std::net::SocketAddr;

use mptcp_core::{ConnConfig, ListenConfig};
use tcp_adapter::ConnectRequest;

use super::world::{Flow, PORT, World, address};

#[test]
fn it_is_without_effect() {
    let mut world = World::simple(1, 1);
    let capable = [0, 1].map(|host| tcp_adapter::TcpStack::capabilities(world.hosts[host].stack.tcp()).fast_open);
    assert_ne!(capable, [true, true]);
    let (now, listener) = (world.now, world.hosts[1].listener.unwrap());
    world.hosts[1].stack.unlisten(now, listener);
    let config = ListenConfig { fast_open: 64, ..ListenConfig::default() };
    world.hosts[1].listener = Some(world.hosts[1].stack.listen(None, PORT, config).unwrap());
    for _ in 0..3 {
        let before = world.server_conn();
        let remote = SocketAddr::new(address(1, 0, true), PORT);
        let request = ConnectRequest { local: address(0, 0, true), local_port: None, remote };
        let config = ConnConfig { fast_open: true, ..ConnConfig::default() };
        let client = world.hosts[0].stack.connect(world.now, &request, config).unwrap();
        world.hosts[0].flows.insert(client, Flow::default());
        world.send(0, client, 500, true);
        assert!(world.run_until(5, |world| world.server_conn() != before));
        let conns = [client, world.server_conn().unwrap()];
        world.send(1, conns[1], 500, true);
        assert!(world.run_until(10, |world| world.transferred(conns, true)));
        for (host, conn) in conns.into_iter().enumerate() {
            let info = world.hosts[host].stack.info(conn).unwrap();
            assert_eq!((info.early_sent, info.early_received, info.fallback), (0, 0, None));
        }
    }
    world.close_all();
}
