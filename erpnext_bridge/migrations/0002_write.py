import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('erpnext_bridge', '0001_connection'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='DocumentWrite',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('site', models.CharField(help_text="Alias of the site in ERPNEXT_BRIDGE['SITES'].", max_length=64)),
                ('is_service', models.BooleanField(default=False, help_text="Sent with the rights of the site's service account.", verbose_name='service account')),
                ('action', models.CharField(choices=[('create', 'Create'), ('update', 'Update'), ('submit', 'Submit'), ('cancel', 'Cancel'), ('delete', 'Delete')], max_length=10)),
                ('doctype', models.CharField(max_length=140, verbose_name='DocType')),
                ('document_name', models.CharField(blank=True, help_text='Its name at ERPNext; of a new one as soon as known.', max_length=140, verbose_name='document')),
                ('payload', models.JSONField(blank=True, default=dict, help_text='Fields and their values.')),
                ('base_modified', models.CharField(blank=True, help_text='`modified` of the document that the write is based on.', max_length=40)),
                ('submit', models.BooleanField(default=False, help_text='Submit the document once it is created.')),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('sending', 'Sending'), ('done', 'Done'), ('retrying', 'Retrying'), ('refused', 'Refused'), ('uncertain', 'Uncertain'), ('cancelled', 'Cancelled')], default='pending', max_length=10)),
                ('attempts', models.PositiveIntegerField(default=0, help_text='Deliveries since it was queued or retried.')),
                ('next_attempt_at', models.DateTimeField(blank=True, default=django.utils.timezone.now, null=True)),
                ('nudged_at', models.DateTimeField(blank=True, editable=False, help_text='When the sweep last asked a worker to deliver it.', null=True)),
                ('lease_token', models.UUIDField(blank=True, editable=False, null=True)),
                ('lease_expires_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('outcome_unknown', models.BooleanField(default=False, help_text='ERPNext may have carried out an attempt whose answer never came.')),
                ('last_error', models.TextField(blank=True, help_text="ERPNext's messages, or what it waits for.")),
                ('error_type', models.CharField(blank=True, max_length=140)),
                ('answer', models.JSONField(blank=True, default=dict, help_text='What ERPNext told about the document.')),
                ('history', models.JSONField(blank=True, default=list, help_text='What happened to it, oldest first.')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('user', models.ForeignKey(blank=True, help_text='Whose rights it is sent with.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='erpnext_writes', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'write',
                'indexes': [models.Index(fields=['state', 'next_attempt_at'], name='erpnext_bridge_write_due'), models.Index(fields=['user', '-created_at'], name='erpnext_bridge_write_user'), models.Index(fields=['doctype', 'document_name'], name='erpnext_bridge_write_document'), models.Index(fields=['-created_at'], name='erpnext_bridge_write_created')],
                'constraints': [models.CheckConstraint(condition=models.Q(('is_service', False), ('user__isnull', True), _connector='OR'), name='erpnext_bridge_write_identity')],
            },
        ),
    ]
