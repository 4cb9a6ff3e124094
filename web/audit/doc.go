// Package audit reads the audit log: search for the admin's page, and verification of the hash chain. Rows are
// written by the SQL function audit_append in the transaction of the act, never from here.
package audit
