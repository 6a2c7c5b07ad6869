-- Which upcasters a generation's events go through, as JSON: [{"name", "version", "digest"}], by name. Those that were
-- built before there were upcasters have none.
ALTER TABLE lamphouse_generations ADD COLUMN upcasters TEXT NOT NULL DEFAULT '[]';
