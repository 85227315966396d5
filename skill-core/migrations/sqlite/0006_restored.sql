-- The revision at which a grant came out of a backup. While it stands, nobody knows whether the
-- provider still takes the grant: it may have been renewed elsewhere since.
ALTER TABLE grants ADD COLUMN restored_revision INTEGER;
