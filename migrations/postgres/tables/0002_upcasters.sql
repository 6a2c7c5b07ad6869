-- Which upcasters a generation's events go through: [{"name", "version", "digest"}], by name. Those that were built
-- before there were upcasters have none.
ALTER TABLE lamphouse_control.generations ADD COLUMN upcasters json NOT NULL DEFAULT '[]';
