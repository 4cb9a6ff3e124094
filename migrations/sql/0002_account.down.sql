DROP TABLE usage;
DROP TABLE api_keys;
DROP TABLE login_buckets;
DROP TABLE sessions;
DROP TABLE users;
