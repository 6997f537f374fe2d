"""Slots of mails that are filled when the mail is opened: picked, drawn and linked by what is so at that moment."""
