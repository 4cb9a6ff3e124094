// Package account knows who is asking: users and their roles, browser sessions, API keys, and what each
// of them used. Other rooms hold the ids of users and keys and nothing more.
//
// Decisions:
//   - Nobody can register. Accounts are made by an admin or on the command line, with a generated password
//     that is shown once, or by a provider that the settings let make them. There is no default account.
//   - Passwords are argon2id (m = 19 MiB, t = 2, p = 1, the OWASP minimum), at most two at once so that a
//     flood of sign-ins costs a bounded amount of memory and CPU. An unknown e-mail address costs one
//     hash too, and gets the same answer.
//   - A session is 32 random bytes in a cookie; the table has their sha256. It ends 8 hours after the last
//     request and 24 hours after sign-in, at sign-out, and when the account's password or role changes.
//   - Who signs in by a provider is its issuer and subject, never an address: addresses change hands. An account that has the
//     address already is linked only by whoever knows its password or is signed in to it. The role follows a provider's claims
//     only for accounts that it made, and nobody becomes an owner so.
//   - A sign-in at a provider is a row: its state goes through the provider, a second secret stays in the browser's cookie, both
//     are stored as digests, and the row is deleted by the one who brings both.
//   - A link for a new password works once and for an hour; the latest made is the only one.
//   - An API key is rk_live_<id>_<secret>. The id finds the row, the sha256 of the secret is compared in
//     constant time. Keys are read from the database at each request, so a revoked one stops at once.
//   - A key is rotated by making another with its name, scopes and limits; the old one ends when the overlap is over. What a key
//     may do is its scopes, a constant each; a route asks for one.
//   - A quota of a day is held against key_days, a row for each key and UTC day that is written in the transaction of the usage
//     row: what is counted is what was recorded, whichever process answered.
//   - All times are the database's.
package account
