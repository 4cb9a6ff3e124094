// Package account knows who is asking: users and their roles, browser sessions, API keys, and what each
// of them used. Other rooms hold the ids of users and keys and nothing more.
//
// Decisions:
//   - Nobody can register. Accounts are made by an admin or on the command line, with a generated password
//     that is shown once. There is no default account.
//   - Passwords are argon2id (m = 19 MiB, t = 2, p = 1, the OWASP minimum), at most two at once so that a
//     flood of sign-ins costs a bounded amount of memory and CPU. An unknown e-mail address costs one
//     hash too, and gets the same answer.
//   - A session is 32 random bytes in a cookie; the table has their sha256. It ends 8 hours after the last
//     request and 24 hours after sign-in, at sign-out, and when the account's password or role changes.
//   - An API key is rk_live_<id>_<secret>. The id finds the row, the sha256 of the secret is compared in
//     constant time. Keys are read from the database at each request, so a revoked one stops at once.
//   - All times are the database's.
package account
