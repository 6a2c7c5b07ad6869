//! What a guest finds that looks for a way out: environment, arguments, files, sockets, names, standard input.

wit_bindgen::generate!({
    inline: r#"
        package puppet:outside;

        world outside {
            import wasi:cli/environment@0.2.0;
            import wasi:cli/exit@0.2.0;
            import wasi:cli/stdin@0.2.0;
            import wasi:filesystem/preopens@0.2.0;
            import wasi:sockets/instance-network@0.2.0;
            import wasi:sockets/ip-name-lookup@0.2.0;
            import wasi:sockets/tcp-create-socket@0.2.0;
            import wasi:sockets/udp-create-socket@0.2.0;
        }

        package wasi:cli@0.2.0 {
            interface environment {
                get-environment: func() -> list<tuple<string, string>>;
                get-arguments: func() -> list<string>;
                initial-cwd: func() -> option<string>;
            }
            interface exit { exit: func(status: result); }
            interface stdin {
                use wasi:io/streams@0.2.0.{input-stream};
                get-stdin: func() -> input-stream;
            }
        }
        package wasi:io@0.2.0 {
            interface error { resource error; }
            interface streams {
                use error.{error};
                variant stream-error { last-operation-failed(error), closed }
                resource input-stream { blocking-read: func(len: u64) -> result<list<u8>, stream-error>; }
            }
        }
        package wasi:filesystem@0.2.0 {
            interface types { resource descriptor; }
            interface preopens {
                use types.{descriptor};
                get-directories: func() -> list<tuple<descriptor, string>>;
            }
        }
        package wasi:sockets@0.2.0 {
            interface network {
                resource network;
                enum error-code {
                    unknown, access-denied, not-supported, invalid-argument, out-of-memory, timeout,
                    concurrency-conflict, not-in-progress, would-block, invalid-state, new-socket-limit,
                    address-not-bindable, address-in-use, remote-unreachable, connection-refused, connection-reset,
                    connection-aborted, datagram-too-large, name-unresolvable, temporary-resolver-failure,
                    permanent-resolver-failure
                }
                enum ip-address-family { ipv4, ipv6 }
            }
            interface instance-network {
                use network.{network};
                instance-network: func() -> network;
            }
            interface ip-name-lookup {
                use network.{network, error-code};
                resource resolve-address-stream;
                resolve-addresses: func(network: borrow<network>, name: string)
                    -> result<resolve-address-stream, error-code>;
            }
            interface tcp { resource tcp-socket; }
            interface tcp-create-socket {
                use network.{error-code, ip-address-family};
                use tcp.{tcp-socket};
                create-tcp-socket: func(address-family: ip-address-family) -> result<tcp-socket, error-code>;
            }
            interface udp { resource udp-socket; }
            interface udp-create-socket {
                use network.{error-code, ip-address-family};
                use udp.{udp-socket};
                create-udp-socket: func(address-family: ip-address-family) -> result<udp-socket, error-code>;
            }
        }
    "#,
    world: "puppet:outside/outside",
    generate_all,
});

use self::wasi::cli::{environment, exit, stdin};
use self::wasi::filesystem::preopens;
use self::wasi::sockets::network::IpAddressFamily;
use self::wasi::sockets::{instance_network, ip_name_lookup, tcp_create_socket, udp_create_socket};

/// What is there, in one line.
pub fn look_around() -> String {
    fn outcome<T, E: core::fmt::Display>(result: Result<T, E>) -> String {
        match result {
            Ok(_) => "granted".to_owned(),
            Err(error) => error.to_string(),
        }
    }
    let network = instance_network::instance_network();
    format!(
        "variables {}, arguments {}, folder {:?}, directories {}, stdin {}, tcp {}, udp {}, names {}",
        environment::get_environment().len(),
        environment::get_arguments().len(),
        environment::initial_cwd(),
        preopens::get_directories().len(),
        outcome(stdin::get_stdin().blocking_read(1).map_err(|_| "closed")),
        outcome(tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4).map_err(|code| code.name())),
        outcome(udp_create_socket::create_udp_socket(IpAddressFamily::Ipv6).map_err(|code| code.name())),
        outcome(ip_name_lookup::resolve_addresses(&network, "localhost").map_err(|code| code.name())),
    )
}

/// Ends the process, if it could.
pub fn leave() {
    exit::exit(Err(()));
}
