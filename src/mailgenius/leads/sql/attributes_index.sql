-- Makes bitmaps know these attributes; those that they did not know. Writers of leads wait if there are any.
select unnest(mailgenius.index_lead_attributes(%(names)s::text[]))
