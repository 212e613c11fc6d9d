-- The attributes that bitmaps know. Index: none, there are few.
select name from mailgenius.lead_attributes order by name
