-- Makes bitmaps forget these attributes; those that they knew. Writers of leads wait if there are any.
select unnest(mailgenius.unindex_lead_attributes(%(names)s::text[]))
